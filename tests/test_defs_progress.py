"""What a person at a terminal is told of a run."""

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    Definitions,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from orchestration.defs.progress import progress_logger


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
