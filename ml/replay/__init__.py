"""A restock policy through history: what it would have ordered, sold, lost, held and cost."""

from ml.replay.gate import service
from ml.replay.policy_backtest import (
    Stage,
    charged,
    draw_demand,
    promises_chart,
    promises_kept,
    rehearse,
    rule_costs,
    verdict_on_orders,
)
from ml.replay.simulate import Decide, Seen, State, replay

__all__ = [
    "Decide",
    "Seen",
    "Stage",
    "State",
    "charged",
    "draw_demand",
    "promises_chart",
    "promises_kept",
    "rehearse",
    "replay",
    "rule_costs",
    "service",
    "verdict_on_orders",
]
