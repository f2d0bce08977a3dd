"""A restock policy through history: what it would have ordered, sold, lost, held and cost."""

from ml.replay.gate import service
from ml.replay.policy_backtest import (
    BacktestSetup,
    backtest_orders,
    charged,
    rule_costs,
    sample_demand,
    service_attainment,
    service_attainment_chart,
    verdict_on_orders,
)
from ml.replay.simulate import Decide, Seen, State, replay

__all__ = [
    "BacktestSetup",
    "Decide",
    "Seen",
    "State",
    "backtest_orders",
    "charged",
    "replay",
    "rule_costs",
    "sample_demand",
    "service",
    "service_attainment",
    "service_attainment_chart",
    "verdict_on_orders",
]
