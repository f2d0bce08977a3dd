"""What a training reads of a home, read once and handed on.

Belongs here: fetching frames. Does not: what is learnt from them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.home.settings import Settings
from orchestration.planning.policies import standard_policy
from orchestration.warehouse.demand_frames import demand_history, items, planned_days, protection_horizon
from orchestration.warehouse.restock_frames import supplier_terms

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrainingData:
    """Frames of one home, all of the same build; periods are days.

    Attributes:
        demand: as `demand_frames.demand_history`.
        items: as `demand_frames.items`.
        horizon: days that forecasts must reach.
        planned: as `demand_frames.planned_days`, so many days ahead.
        terms: as `restock_frames.supplier_terms`.
        policy: the home's own, as `planning.policies.standard_policy`.
    """

    demand: "pd.DataFrame"
    items: "pd.DataFrame"
    horizon: int
    planned: "pd.DataFrame"
    terms: "pd.DataFrame"
    policy: "pd.DataFrame"


def read_training_data(settings: Settings) -> TrainingData:
    """Read the marts of a home."""
    terms = supplier_terms(settings)
    horizon = protection_horizon(settings, terms)
    return TrainingData(
        demand=demand_history(settings),
        items=items(settings),
        horizon=horizon,
        planned=planned_days(settings, horizon),
        terms=terms,
        policy=standard_policy(settings, terms),
    )
