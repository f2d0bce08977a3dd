import dataclasses

import numpy as np
import pandas as pd
import pytest

from ml.backtest.candidates import CANDIDATE, CHAMPION, candidate_members, candidates_beside
from ml.forecast import Settings, load, train
from ml.forecast.baselines import RECENT, train_recent
from ml.forecast.boosted import BOOSTER
from ml.forecast.ensemble import CLASSES, CombinedForecaster


@pytest.fixture(scope="module")
def demand():
    days = pd.date_range("2024-01-01", periods=60)
    units = np.random.default_rng(0).poisson(4.0, 60).astype(float)
    return pd.DataFrame({"sku": "a", "location_id": "x", "period_start": days, "demand_units": units})


@pytest.fixture(scope="module")
def boosted(demand):
    return train(demand, freq="D", horizon=7)


@pytest.fixture(scope="module")
def recent(demand):
    return train_recent(demand, freq="D", horizon=7)


def mixture(booster, recent):
    return CombinedForecaster({BOOSTER: booster, RECENT: recent}, {one: {BOOSTER: 0.5, RECENT: 0.5} for one in CLASSES})


def test_without_a_champion_the_candidate_meets_its_members_and_the_baselines():
    field = candidates_beside(None)
    assert set(field.specs) == {*candidate_members(), "seasonal_naive"}
    assert field.combinations[CANDIDATE].members == candidate_members()
    assert candidate_members()[:2] == (BOOSTER, RECENT)
    assert field.champion is None


def test_a_champion_of_the_same_model_spec_is_not_evaluated_twice(boosted, recent):
    field = candidates_beside(mixture(boosted, recent))
    assert field.champion == CANDIDATE
    assert list(field.combinations) == [CANDIDATE]


def test_a_champion_that_is_a_baseline_or_a_member_is_evaluated_already(boosted, recent):
    assert candidates_beside(recent).champion == RECENT
    assert candidates_beside(boosted).champion == BOOSTER
    assert list(candidates_beside(boosted).specs) == list(candidates_beside(None).specs)


def test_a_champion_of_other_settings_is_refitted_with_them(demand, boosted, tmp_path):
    other = dataclasses.replace(Settings(), rounds=12, depth=3)
    train(demand, freq="D", horizon=7, settings=other).save(tmp_path)
    field = candidates_beside(load(tmp_path))
    assert field.champion == "xgboost with rounds 12 depth 3"
    assert field.specs[field.champion](demand, freq="D", horizon=7).settings == other


def test_a_mixture_of_other_settings_is_refitted_as_a_mixture(boosted, recent):
    field = candidates_beside(mixture(dataclasses.replace(boosted, settings=Settings(depth=3)), recent))
    assert field.champion == CHAMPION
    assert field.combinations[CHAMPION].members == ("xgboost with depth 3", RECENT)
    assert set(field.combinations[CHAMPION].members) <= set(field.specs)
