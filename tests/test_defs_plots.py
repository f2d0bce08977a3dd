"""Pictures of what the assets hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from orchestration.defs import plots


def test_the_picture_of_restock_lines_shows_the_largest_orders_first_and_what_they_come_too_late_for(
    tmp_path: Path,
):
    lines = pd.DataFrame(
        {
            "sku": ["mug", "cup", "jug"],
            "location_id": "UK",
            "status": ["order", "order", "no_order"],
            "days_of_cover_before": [3.0, 400.0, 50.0],
            "days_of_cover_after": [20.0, 500.0, 50.0],
            "inventory_position_units": [6.0, 90.0, 80.0],
            "order_units": [12.0, 24.0, 0.0],
            "order_up_to_units": [18.0, 120.0, 70.0],
        }
    )
    terms = pd.DataFrame({"sku": "cup", "location_id": "UK", "term": ["on_hand", "lost_before_arrival"], "units": -6.0})
    lines.to_parquet(tmp_path / "lines.parquet")
    terms.to_parquet(tmp_path / "terms.parquet")
    _, largest = plots.restock_lines(tmp_path / "lines.parquet", tmp_path / "terms.parquet").axes
    assert [label.get_text() for label in largest.get_yticklabels()] == ["cup UK", "mug UK"]
    assert [container.get_label() for container in largest.containers] == [
        "position",
        "order",
        "likely to be lost before it arrives",
    ]
    assert [[bar.get_width() for bar in container] for container in largest.containers] == [[90, 6], [24, 12], [6, 0]]
