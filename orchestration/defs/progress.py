"""What a run says of its progress: one line per step at a terminal, and how far a long step has come.

Belongs here: lines for people, and the way of what `ml` logs into the log of a run. Does not: what is worth a line in a
training or a backtest (ml/).
"""

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterEvent, DagsterEventType, DagsterLogManager, InitLoggerContext, logger

_LONG_STEPS = ("ml", "orchestration.training")
_IS_PROGRESS = "is_progress"


class _ProgressHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        event: DagsterEvent | None = getattr(record, "dagster_event", None)
        if event is not None:
            line = _line(event)
        elif getattr(record, _IS_PROGRESS, False):
            line = f"  {record.dagster_meta['orig_message']}"  # type: ignore[attr-defined]
        else:
            line = _warning(record.getMessage().split(" - ")[-1]) if record.levelno >= logging.WARNING else None
        if line:
            print(f"{time.monotonic() - self.began:6.1f} s  {line}", file=sys.stderr, flush=True)


class _Forwarding(logging.Handler):
    """Hands what a long step logs to the log of the run."""

    def __init__(self, log: DagsterLogManager) -> None:
        super().__init__(logging.INFO)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        self.log.log(record.levelno, record.getMessage(), extra={_IS_PROGRESS: True})


@contextmanager
def long_step_told(log: DagsterLogManager) -> Iterator[None]:
    """Show in the log of a run, and at the terminal, how far the trainings and backtests within have come.

    Args:
        log: of the run, `context.log`.
    """
    handler = _Forwarding(log)
    loggers = [logging.getLogger(name) for name in _LONG_STEPS]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.INFO)
        one.addHandler(handler)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)


def _warning(message: str) -> str:
    # Dagster names every input that a step misses; what failed stands above.
    missing = re.match(r"Dependencies for step (\S+) (?:failed|were not executed)", message)
    return f"{missing[1]} left out" if missing else message


def _line(event: DagsterEvent) -> str | None:
    match event.event_type:
        case DagsterEventType.STEP_START:
            return f"{event.step_key} ..."
        case DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            cause = (error.cause or error) if error else None
            if cause and cause.cls_name == "DagsterAssetCheckFailedError":
                return f"{event.step_key} FAILED: the check above blocks what is made of it"
            return f"{event.step_key} FAILED: {cause.message.strip() if cause else event.message}"
        case DagsterEventType.STEP_SKIPPED:
            return f"{event.step_key} left out"
        case DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.passed:
                return None
            why = check.metadata.get("failures")
            return f"  check {check.check_name} of {check.asset_key.to_user_string()} FAILED: {why and why.value}"
        case DagsterEventType.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            rows, note = made.metadata.get("dagster/row_count"), made.metadata.get("note")
            facts = [f"{rows.value:,} rows" if rows is not None else "", str(note.value) if note is not None else ""]
            return f"  {made.asset_key.to_user_string()}  {', '.join(filter(None, facts))}".rstrip()
        case _:
            return None


@logger(None, "One line per step on the standard error stream.")
def progress_logger(_context: InitLoggerContext) -> logging.Logger:
    """Return the logger that prints the progress of a run."""
    made = logging.Logger("inventorybot.progress", level=logging.DEBUG)
    made.addHandler(_ProgressHandler())
    return made
