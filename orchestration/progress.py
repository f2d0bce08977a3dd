"""One line per step of a run, for people at a terminal."""

import logging
import sys
import time

from dagster import DagsterEvent, InitLoggerContext, logger


class _ProgressHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        event: DagsterEvent | None = getattr(record, "dagster_event", None)
        line = record.getMessage().split(" - ")[-1] if event is None else _line(event)
        if line:
            print(f"{time.monotonic() - self.began:6.1f} s  {line}", file=sys.stderr, flush=True)


def _line(event: DagsterEvent) -> str | None:
    if event.is_step_start:
        return f"{event.step_key} ..."
    if event.is_step_failure:
        error = event.step_failure_data.error
        cause = error.cause or error if error else None
        return f"{event.step_key} FAILED: {cause.message.strip() if cause else event.message}"
    if event.is_step_skipped:
        return f"{event.step_key} left out"
    if event.is_asset_check_evaluation and not event.asset_check_evaluation_data.passed:
        check = event.asset_check_evaluation_data
        said = [str(value.value) for key, value in check.metadata.items() if key in {"failures", "message"}]
        return f"check {check.asset_key.to_user_string()} {check.check_name} FAILED {' '.join(said)}".rstrip()
    if event.is_step_materialization:
        materialization = event.step_materialization_data.materialization
        rows = materialization.metadata.get("dagster/row_count")
        note = materialization.metadata.get("note")
        parts = [f"{rows.value:,} rows" if rows is not None else "", str(note.value) if note is not None else ""]
        return f"  {materialization.asset_key.to_user_string()}  {', '.join(part for part in parts if part)}".rstrip()
    return None


@logger(description="One line per step on the standard error stream.")
def progress_logger(_context: InitLoggerContext) -> logging.Logger:
    """Return the logger that prints the progress of a run."""
    made = logging.Logger("inventorybot.progress", level=logging.INFO)
    made.addHandler(_ProgressHandler())
    return made
