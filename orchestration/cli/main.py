"""The command `inventorybot`: what the Makefile calls and what a person types. Heavy libraries are imported on use."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import click

from orchestration.cli.home import FAILED, home_settings
from orchestration.cli.options import Day, FormerCommands
from orchestration.cli.pictures import picture
from orchestration.cli.policies import policy
from orchestration.cli.proposals import proposals
from orchestration.cli.quarantine import quarantine
from orchestration.cli.reproduce import reproduce
from orchestration.cli.scenarios import what_if
from orchestration.cli.sources import loads, sources
from orchestration.cli.store import store
from orchestration.cli.stream import stream
from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER, WAREHOUSE_NAME, Settings


@click.group(
    cls=FormerCommands,
    former={"arrivals": "loads"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="inventorybot")
def cli() -> None:
    """Turn raw inventory data into restock recommendations.

    \b
    State lives in INVENTORYBOT_HOME (default: data/ of the checkout).
    Files arrive in INVENTORYBOT_LANDING (default: <home>/landing).

    \b
    Start with your own data:
      inventorybot init my_home                      write templates to fill in
      INVENTORYBOT_HOME=my_home inventorybot run     run the daily job
      INVENTORYBOT_HOME=my_home inventorybot ui      show it in Dagster
    """  # noqa: D301


def _prepared(settings: Settings) -> Settings:
    from orchestration.home.lock import HomeError
    from orchestration.home.prepare import prepare_home
    from orchestration.warehouse.dbt import prepare_project

    try:
        prepare_project()
        prepare_home(settings)
    except HomeError as error:
        raise click.ClickException(str(error)) from error
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    return settings


@cli.command()
@click.option("--project-only", is_flag=True, help="Prepare dbt's manifest only, no home.")
def prepare(project_only: bool) -> None:
    """Prepare the project and the home. Makes dbt's manifest, databases and Dagster's instance; safe to repeat."""
    from orchestration.home.lock import HomeError
    from orchestration.warehouse.dbt import prepare_project

    try:
        prepare_project()
    except HomeError as error:
        raise click.ClickException(str(error)) from error
    if not project_only:
        _prepared(home_settings())


@cli.command()
@click.option(
    "--as-of", type=Day(), help="Business day, such as 2011-12-08; default: the last complete day in the data."
)
def run(as_of: date | None) -> None:
    """Run the job daily_restock, from files to orders. A second run on the same input changes nothing."""
    _run_job("daily_restock", as_of)


@cli.command()
def refresh() -> None:
    """Load new data and update orders, without training. Runs the job refresh_stock: minutes instead of a daily run."""
    _run_job("refresh_stock", None)


@cli.command()
@click.argument("from_day", type=Day())
def backfill(from_day: date) -> None:
    """Rebuild the facts of FROM_DAY and all later days. Raw data are the source; the content stays the same."""
    _run_job("refresh_stock", None, rebuild_from=from_day)


@cli.command()
def train() -> None:
    """Evaluate every model whose data or code has changed. Runs the job train_models; a gate judges each model."""
    _run_job("train_models", None)


def _run_job(job: str, as_of: date | None, rebuild_from: date | None = None) -> None:
    settings = home_settings()
    from orchestration.home.lock import HomeError, claimed
    from orchestration.ingest.errors import ContractError
    from orchestration.ingest.landing import open_landing
    from orchestration.ingest.sql_sources import read_sources

    try:
        read_sources(settings)
        open_landing(settings)
    except (ContractError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _prepared(settings)
    from orchestration.publishing.generations import require_known
    from serving.store import Store

    with Store.open(settings.store_url) as opened:
        require_known(settings.published, opened)
    try:
        with claimed(settings):
            from orchestration.cli.runs import execute

            succeeded = execute(job, log=settings.home / "run.log", as_of=as_of, rebuild_from=rebuild_from)
    except HomeError as error:
        raise click.ClickException(str(error)) from error
    from orchestration.cli.summary import summarise
    from orchestration.publishing.generations import looked_back_at

    was_published = (settings.published / "current.duckdb").exists()
    beside = looked_back_at(settings.published, as_of) if as_of and succeeded else None
    if succeeded or was_published:
        click.echo(summarise(settings, beside if beside and (beside / "current.duckdb").exists() else None))
    if not succeeded:
        still = "the previously published generation stays current" if was_published else "nothing is published yet"
        click.echo(f"The run FAILED for the reason above; {still}.", err=True)
        sys.exit(FAILED)


@cli.command()
def status() -> None:
    """Show how the last run ended. Also what is published, which models are champions, what is in quarantine."""
    settings = home_settings()
    from orchestration.cli.summary import summarise
    from orchestration.defs.run_history import describe, last_run

    click.echo(describe(last_run(settings), settings))
    click.echo(summarise(settings))


@cli.command()
@click.option("--dry-run", is_flag=True, help="List what would be removed; remove nothing.")
def retention(dry_run: bool) -> None:
    """Remove old runs and archived decisions, as the settings say. The daily job does the same."""
    settings = home_settings()
    from orchestration.defs.retention import tidy
    from orchestration.home.lock import HomeError

    try:
        kept = tidy(settings, now=datetime.now(UTC), is_trial=dry_run)
    except HomeError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(kept.report(settings)))


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Make a home at FOLDER. Writes one template per table to landing/."""
    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import template_csv

    landing = folder / "landing"
    made = []
    for table in load_contract():
        target = landing / table.name / f"{table.name}.csv.template"
        if not target.exists():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(template_csv(table))
            except OSError as error:
                raise click.ClickException(
                    f"{target} cannot be written ({error.strerror}): name a folder that you may write"
                ) from error
            needed = ", ".join(column.name for column in table.columns if column.required)
            made.append(f"  {target}  {table.needed}, with {needed}")
    click.echo("\n".join(made) or f"{landing} has all its templates already")
    click.echo(
        f"\nFill in the required ones, save them as .csv, then:  INVENTORYBOT_HOME={folder} inventorybot run\n"
        "Columns that are not named above may be left out; dbt_project/CONTRACT.md says what each is.\n"
        "Bring what is on the shelves as well: a movement of type count for each sku and location. Sales alone give\n"
        "forecasts, and orders wait for a count. Totals of sales by day go to daily_sales; movements are\n"
        "not required then."
    )


@cli.command()
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def ui(port: int, host: str) -> None:
    """Start Dagster's web interface. Its daemon runs schedules and sensors."""
    _prepared(home_settings())
    click.echo(f"Dagster: http://{host}:{port}")
    _become(["dagster", "dev", "-w", str(PROJECT_FOLDER / "workspace.yaml"), "-h", host, "-p", str(port)])


@cli.command()
@click.option("--port", default=5000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def mlflow(port: int, host: str) -> None:
    """Start MLflow's web interface. Shows experiments, models and gate verdicts."""
    settings = _prepared(home_settings())
    click.echo(f"MLflow: http://{host}:{port}/#/models (for the runs of an experiment choose Model training, top left)")
    # The address of the store may hold a password, which everybody could read among the arguments.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = settings.tracking_uri
    places = ["--default-artifact-root", settings.artifact_root, "--host", host, "--port", str(port)]
    _become(["mlflow", "server", *places, "--workers", "1"])


@cli.command()
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve(port: int, host: str) -> None:
    """Serve the published generation and its models over HTTP."""
    settings = _prepared(home_settings())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    click.echo(f"endpoint: http://{host}:{port}/docs")
    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "serving"),
            *("--published", str(settings.published), "--host", host, "--port", str(port)),
        ],
    )


@cli.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "json-schema"]),
    default="markdown",
    show_default=True,
    help="Format of the output.",
)
def schema(form: str) -> None:
    """Print the input contract. Lists every table and column, or gives the JSON Schema of a stock movement."""
    import json

    from orchestration.ingest.contract import load_contract
    from orchestration.ingest.contract_texts import contract_markdown, movement_json_schema

    contract = load_contract()
    click.echo(
        contract_markdown(contract) if form == "markdown" else json.dumps(movement_json_schema(contract), indent=2)
    )


@cli.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path), default="data_dictionary.html")
def docs(output: Path) -> None:
    """Write the data dictionary to OUTPUT, one HTML file. It has column types and example queries."""
    import tempfile

    from orchestration.cli.dictionary import written_pages

    if output.suffix.lower() not in (".html", ".htm"):
        raise click.ClickException(f"{output} is not the name of an HTML file; write one, as in {output}.html")
    if not output.parent.is_dir():
        raise click.ClickException(f"there is no folder {output.parent} to write {output.name} to; create it first")
    with tempfile.TemporaryDirectory(prefix="inventorybot_") as target:
        # An empty catalogue: types come from the contracts, and the warehouse stays untouched.
        made = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "orchestration.warehouse.dbt", "--quiet"),
                *("docs", "generate", "--empty-catalog"),
                *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", target),
            ],
            env=os.environ | {"INVENTORYBOT_WAREHOUSE": str(Path(target) / WAREHOUSE_NAME)},
            check=False,
        )
        if made.returncode:
            raise click.ClickException("dbt could not write the data dictionary; see its message above")
        output.write_text(written_pages(Path(target)), encoding="utf-8")
    click.echo(f"{output}: open it in a browser")


@cli.command()
@click.argument("model")
@click.argument("version", required=False)
def rollback(model: str, version: str | None) -> None:
    """Make VERSION of MODEL the champion again. Default: the previous champion."""
    from orchestration.training.lifecycle import roll_back
    from serving.store import Store

    settings = _prepared(home_settings())
    from ml.tracking import Tracking

    tracking = Tracking(settings.tracking_uri, settings.artifact_root)
    try:
        champion = roll_back(model, version, tracking, Store.open(settings.store_url))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{model}: version {champion.version} is champion; the next run predicts with it")


for command in (sources, loads, quarantine, stream, policy, proposals, reproduce, what_if, picture, store):
    cli.add_command(command)


def _become(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]
    os.execv(str(program), [str(program), *command[1:]])


def main() -> None:
    """Entry point of the command; errors of the store are shown without a traceback."""
    from serving.store import StoreError

    try:
        cli()
    except StoreError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
