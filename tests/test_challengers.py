"""The network and the classical methods beside the booster, in a small home."""

from pathlib import Path

import pytest
from small_marts import small_home

from orchestration.challengers import challenge
from orchestration.frames import demand_history


def test_a_home_with_few_series_is_not_challenged(tmp_path: Path) -> None:
    home = small_home(tmp_path, days=56, series=8)
    found = challenge(home, demand_history(home), 7, [7])
    assert found.verdict.empty
    assert found.tables == {}


@pytest.mark.deep
def test_every_challenger_is_told_beside_the_booster_and_none_blocks(tmp_path: Path) -> None:
    home = small_home(tmp_path, days=170, series=44)
    found = challenge(home, demand_history(home), 7, [7])
    assert set(found.tables["challengers"]["recipe"]) == {
        *("xgboost", "seasonal_naive", "recent", "network", "ets", "theta", "croston_sba", "tsb")
    }
    assert not found.verdict["blocks"].any()
    assert found.verdict["passed"].all()
    criteria = set(found.verdict["criterion"])
    assert {"44 series: pinball over network, all", "44 series: wrmsse over ets, all"} <= criteria
    assert "44 series: pinball of 7-period sums over tsb, all" in criteria
    assert found.figures["challengers_by_lag"].startswith(b"\x89PNG")
