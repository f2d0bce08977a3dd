"""What a person at a terminal is told of a run."""

import logging

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    Definitions,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from orchestration.defs.progress import long_step_told, progress_logger


@asset(check_specs=[AssetCheckSpec("rows", asset="first", blocking=True)])
def first():
    failed = AssetCheckResult(passed=False, check_name="rows", metadata={"failures": "no row of it"})
    return MaterializeResult(check_results=[failed])


@asset(deps=[first])
def second() -> None: ...


def test_a_check_that_blocks_is_told_once_and_what_it_stops_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    definitions = Definitions(
        assets=[first, second],
        jobs=[define_asset_job("job")],
        loggers={"progress": progress_logger},
        executor=in_process_executor,
    )
    definitions.resolve_job_def("job").execute_in_process(
        run_config={"loggers": {"progress": {}}}, raise_on_error=False
    )
    assert [line.split(" s  ")[1].strip() for line in capsys.readouterr().err.splitlines()] == [
        "first ...",
        "first",
        "check rows of first FAILED: no row of it",
        "first FAILED: the check above blocks what is made of it",
        "second left out",
    ]


@asset
def long_one(context: AssetExecutionContext) -> None:
    ml = logging.getLogger("ml.backtest.evaluation")
    with long_step_told(context.log):
        ml.info("window %d of %d", 2, 5)
        logging.getLogger("elsewhere").info("of no interest")
    context.log.info("said by Dagster itself")
    ml.info("said by nobody who is asked")


def test_how_far_a_long_step_has_come_is_told_at_the_terminal_and_in_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    definitions = Definitions(
        assets=[long_one],
        jobs=[define_asset_job("job")],
        loggers={"progress": progress_logger},
        executor=in_process_executor,
    )
    before = logging.getLogger("ml").level
    definitions.resolve_job_def("job").execute_in_process(run_config={"loggers": {"progress": {}}})
    told = [line.split(" s  ")[1].strip() for line in capsys.readouterr().err.splitlines() if " s  " in line]
    assert told == ["long_one ...", "window 2 of 5", "long_one"]
    assert logging.getLogger("ml").level == before
