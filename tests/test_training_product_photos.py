"""Which photos the recogniser learns from, and which it is judged on."""

from pathlib import Path

import duckdb
import pandas as pd

from orchestration.home.settings import Settings
from orchestration.training.product_photos import held_out, labelled_photos


def test_the_latest_photos_with_a_date_judge_and_every_fifth_of_the_others(tmp_path: Path):
    settings = Settings(tmp_path, tmp_path / "landing", "", "", "")
    (settings.exports / "marts").mkdir(parents=True)
    # Names run against time.
    dated = [(f"dated{9 - day}.jpg", "Apple", pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=day))
             for day in range(10)]  # fmt: skip
    undated = [(f"undated{number}.jpg", "Apple", None) for number in range(7)]
    photos = pd.DataFrame([*dated, *undated, ("new.jpg", None, None)], columns=["photo_path", "label", "taken_at"])
    duckdb.from_df(photos).write_parquet(str(settings.exports / "marts" / "dim_product_photos.parquet"))
    labelled = labelled_photos(settings)
    assert len(labelled) == 17
    judging = labelled.loc[held_out(labelled), "photo_path"].tolist()
    assert judging == ["undated4.jpg", "dated1.jpg", "dated0.jpg"]
