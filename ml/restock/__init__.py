"""What to order: the restock decision of one moment, line by line and for a whole day."""

from ml.restock.allocation import allocate
from ml.restock.exceptions import Cause
from ml.restock.inputs import DEMAND_MODELS, ORDER_RULES, TARGET_TYPES, UNKNOWN_STOCKS
from ml.restock.large_orders import largest_stocked
from ml.restock.order_interval import reviews_per_order
from ml.restock.plan import PathsOf, Plan, World, plan_orders
from ml.restock.plots import order_outlook
from ml.restock.policy_segments import segment_conditions, segment_members
from ml.restock.recommendation import LINE_COLUMNS, recommend
from ml.restock.scenarios import Scenario, what_if
from ml.restock.steps import STEPS, TERM_NAMES
from ml.restock.transfers import transfer

__all__ = [
    "DEMAND_MODELS",
    "LINE_COLUMNS",
    "ORDER_RULES",
    "STEPS",
    "TARGET_TYPES",
    "TERM_NAMES",
    "UNKNOWN_STOCKS",
    "Cause",
    "PathsOf",
    "Plan",
    "Scenario",
    "World",
    "allocate",
    "largest_stocked",
    "order_outlook",
    "plan_orders",
    "recommend",
    "reviews_per_order",
    "segment_conditions",
    "segment_members",
    "transfer",
    "what_if",
]
