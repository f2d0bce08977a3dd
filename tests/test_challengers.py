"""The network and the classical methods beside the booster, in a small home."""

from pathlib import Path

import pytest
from small_marts import small_home

from orchestration.challengers import challenge, train_beside_challengers
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


@pytest.mark.deep
def test_the_second_training_tells_of_the_challengers_and_the_first_does_not(tmp_path: Path) -> None:
    home = small_home(tmp_path / "home", days=170, series=44)
    first = train_beside_challengers(home, tmp_path / "first", None)
    second = train_beside_challengers(home, tmp_path / "second", tmp_path / "first")
    assert "challengers" not in first.tables
    assert "challengers" in second.tables
    assert second.verdict["criterion"].str.endswith("wrmsse over network, all").sum() == 1
    assert second.verdict.loc[second.verdict["criterion"].str.contains("network"), "passed"].all()
