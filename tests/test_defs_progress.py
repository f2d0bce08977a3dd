"""What a person at a terminal is told of a run."""

import logging
import re
import subprocess
import sys
import time

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
        "All steps took 0 s and 0 s of processor time.",
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
    assert told[:-1] == ["long_one ...", "window 2 of 5", "long_one"]
    assert logging.getLogger("ml").level == before


@asset
def busy() -> None:
    """Keep a processor busy, of this process and of one that it starts."""
    command = "import time\nuntil = time.process_time() + 0.4\nwhile time.process_time() < until: pass"
    exec(command, {})
    subprocess.run([sys.executable, "-c", command], check=True)


@asset(deps=[busy])
def waiting() -> None:
    time.sleep(0.7)


def test_the_end_of_a_run_says_what_took_long_with_the_time_of_processors_in_started_programs_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    definitions = Definitions(
        assets=[busy, waiting],
        jobs=[define_asset_job("job")],
        loggers={"progress": progress_logger},
        executor=in_process_executor,
    )
    definitions.resolve_job_def("job").execute_in_process(run_config={"loggers": {"progress": {}}})
    last = capsys.readouterr().err.splitlines()[-1]
    found = re.search(r"All steps took \d+ s and (\d+) s of processor time; the longest: (.*)\.$", last)
    assert found, last
    assert int(found[1]) >= 1
    used = dict(re.findall(r"(\w+) \d+ s \((\d+)\)", found[2]))
    assert int(used["busy"]) >= 1
    assert used["waiting"] == "0"
