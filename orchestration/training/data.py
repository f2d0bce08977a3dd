"""What a training reads of a home, read once and handed on.

Belongs here: fetching frames. Does not: what is learnt from them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.schema import KEYS
from orchestration.home.settings import Settings
from orchestration.planning.policies import standard_policy
from orchestration.warehouse.demand_frames import demand_history, planned_days, protection_horizon
from orchestration.warehouse.restock_frames import segmented_items, supplier_terms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


@dataclass(frozen=True)
class TrainingData:
    """Frames of one home, all of the same build; periods are days.

    Attributes:
        demand: as `demand_frames.demand_history`.
        items: as `demand_frames.items`.
        segments: as `restock_frames.segmented_items`.
        horizon: days that forecasts must reach.
        planned: as `demand_frames.planned_days`, so many days ahead.
        terms: as `restock_frames.supplier_terms`.
        policy: the home's own, as `planning.policies.standard_policy`.
    """

    demand: "pd.DataFrame"
    items: "pd.DataFrame"
    segments: "pd.DataFrame"
    horizon: int
    planned: "pd.DataFrame"
    terms: "pd.DataFrame"
    policy: "pd.DataFrame"


def read_training_data(settings: Settings) -> TrainingData:
    """Read the marts of a home."""
    terms = supplier_terms(settings)
    policy, segments = standard_policy(settings, terms), segmented_items(settings)
    horizon = protection_horizon(settings, terms.assign(reviews_per_order=_reviews_per_order(segments, terms, policy)))
    return TrainingData(
        demand=demand_history(settings, segments),
        items=segments[[*KEYS, "category", "unit_cost", "unit_price"]],
        segments=segments,
        horizon=horizon,
        planned=planned_days(settings, horizon, segments),
        terms=terms,
        policy=policy,
    )


def _reviews_per_order(
    segments: "pd.DataFrame", terms: "pd.DataFrame", policy: "pd.DataFrame"
) -> "npt.NDArray[np.int64]":
    """Return how long orders will last at the demand of the past, which is what forecasts have to reach."""
    from ml.restock import reviews_per_order

    past = segments.merge(policy[[*KEYS, "target_type"]], on=KEYS)
    past = past.assign(expected_demand_units=past["mean_daily_demand_units"], protection_periods=1, status="order")
    return reviews_per_order(past, terms, policy)
