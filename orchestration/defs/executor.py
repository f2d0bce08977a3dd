"""How the runs of Dagster's daemon and interface execute: in one process, which holds the home as the commands do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagster import DagsterEvent, Executor, ExecutorDefinition, InitExecutorContext, in_process_executor

from orchestration.home.environment import read_settings
from orchestration.home.lock import claimed

if TYPE_CHECKING:
    from dagster._core.execution.retries import RetryMode

WAIT_SECONDS = 3_600.0
"""How long a run of a sensor waits for a running command; after that it fails and is reported."""


class HoldingExecutor(Executor):
    """Executes as another executor does, while no other run works on the home."""

    def __init__(self, inner: Executor, wait_seconds: float) -> None:
        self._inner = inner
        self._wait_seconds = wait_seconds

    @property
    def retries(self) -> "RetryMode":
        """As the other executor has it."""
        return self._inner.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        """Wait for the home, then execute.

        Raises:
            HomeError: another run still holds it.
        """
        with claimed(read_settings(), wait_seconds=self._wait_seconds):
            yield from self._inner.execute(plan_context, execution_plan)


def _holding(context: InitExecutorContext) -> Executor:
    inner = in_process_executor.executor_creation_fn
    assert inner is not None
    return HoldingExecutor(inner(context), WAIT_SECONDS)


holding_home = ExecutorDefinition(
    name="in_process_holding_the_home",
    config_schema=in_process_executor.config_schema.as_field(),
    executor_creation_fn=_holding,
    description="One process, one run at a time on a home; `inventorybot run` beside it is refused by name.",
)
