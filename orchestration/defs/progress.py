"""What a run says of its progress: one line per step at a terminal, and how far a long step has come.

Belongs here: lines for people, and the way of what `ml` logs into the log of a run. Does not: what is worth a line in a
training or a backtest (ml/).
"""

import functools
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterEvent, DagsterEventType, DagsterLogManager, InitLoggerContext, logger

_LONG_STEPS = ("ml", "orchestration.training")
_IS_PROGRESS = "is_progress"
_ENDS = (DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE)
_LONGEST, _WORTH_TELLING = 8, 0.5
"""Steps named at the end of a run, and the seconds that are worth it."""


class StepTimes:
    """Seconds and processor seconds of each step of a run; steps of one process follow one another."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[float, float]] = {}
        self._began = (0.0, 0.0)

    def note(self, event: DagsterEvent) -> None:
        """Count the time between the start and the end of a step."""
        # Programs that a step runs count once they have ended.
        now = (time.monotonic(), sum(os.times()[:4]))
        if event.event_type == DagsterEventType.STEP_START:
            self._began = now
        elif event.event_type in (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE):
            self.taken[str(event.step_key)] = (now[0] - self._began[0], now[1] - self._began[1])

    def line(self) -> str:
        """Return what took longest, with the time of the processors."""
        total, processors = (sum(times[place] for times in self.taken.values()) for place in (0, 1))
        longest = sorted(self.taken.items(), key=lambda item: -item[1][0])[:_LONGEST]
        parts = [
            f"{step} {seconds:.0f} s ({used:.0f})" for step, (seconds, used) in longest if seconds >= _WORTH_TELLING
        ]
        said = f"All steps took {total:.0f} s and {processors:.0f} s of processor time"
        return f"{said}; the longest: {', '.join(parts)}." if parts else f"{said}."


@functools.lru_cache(maxsize=4)
def _times_of(run_id: str | None) -> StepTimes:
    # A run and its steps have loggers of their own.
    return StepTimes()


class _ProgressHandler(logging.Handler):
    def __init__(self, times: StepTimes) -> None:
        super().__init__()
        self.began = time.monotonic()
        self.times = times

    def emit(self, record: logging.LogRecord) -> None:
        event: DagsterEvent | None = getattr(record, "dagster_event", None)
        if event is not None:
            self.times.note(event)
            line = self.times.line() if event.event_type in _ENDS else _line(event)
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
def progress_logger(context: InitLoggerContext) -> logging.Logger:
    """Return the logger that prints the progress of a run."""
    made = logging.Logger("inventorybot.progress", level=logging.DEBUG)
    made.addHandler(_ProgressHandler(_times_of(context.run_id)))
    return made
