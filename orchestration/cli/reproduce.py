"""The command `reproduce`: archived recommendations made again from their archived inputs."""

import json
from datetime import date

import click

from orchestration.cli.home import published_home
from orchestration.cli.options import Day
from orchestration.home.settings import Settings


@click.command()
@click.option(
    "--as-of",
    metavar="DAY",
    type=Day(),
    help="Business day whose latest archive to use; default: the current generation.",
)
@click.option(
    "--generation",
    metavar="GENERATION",
    help="Published generation, as `inventorybot status` names it; default: the current one.",
)
def reproduce(as_of: date | None, generation: str | None) -> None:
    """Reproduce archived recommendations. From their archived inputs, with a comparison of every column.

    Exits with code 1 if something differs.
    """
    from ml.tracking import FolderHashError, Tracking
    from orchestration.planning import decision as decisions
    from orchestration.planning.archive import archive_of_day

    if as_of and generation:
        raise click.ClickException("give --as-of or --generation, not both")
    settings = published_home()
    tracking = Tracking(settings.tracking_uri, settings.artifact_root)
    try:
        archive = archive_of_day(settings, as_of.isoformat()) if as_of else _archive_of_generation(settings, generation)
        found = decisions.reproduce(settings, archive, tracking)
    except (FileNotFoundError, FolderHashError) as error:
        raise click.ClickException(str(error)) from error
    count = sum(found.differences.values()) + found.only_archived + found.only_made_again
    click.echo(f"{found.archive}: {found.lines:,} recommendations reproduced from their archived inputs")
    click.echo(f"columns: {', '.join(found.columns)}")
    click.echo(
        "code: the same version"
        if found.code_then == found.code_now
        else f"code: {found.code_then} then, {found.code_now} now"
    )
    for column, cells in found.differences.items():
        click.echo(f"  {column}: {cells:,} lines differ")
    if found.only_archived or found.only_made_again:
        click.echo(f"  {found.only_archived:,} lines are missing now, {found.only_made_again:,} are new")
    click.echo(f"{count:,} differences")
    if not found.is_equal:
        raise SystemExit(1)


def _archive_of_generation(settings: Settings, generation: str | None) -> str:
    from orchestration.planning.archive import archive_of_day
    from orchestration.publishing.generations import current_manifest

    if generation is None:
        manifest = current_manifest(settings.published)
        if manifest is None:
            raise click.ClickException(f"nothing is published in {settings.home} yet: run `inventorybot run` first")
    else:
        file = settings.published / f"wh_{generation}.json"
        if not file.exists():
            kept = ", ".join(sorted(path.stem.removeprefix("wh_") for path in settings.published.glob("wh_*.json")))
            raise click.ClickException(
                f"generation {generation!r} is not kept; kept are {kept or 'none'}. Name its day with --as-of"
            )
        manifest = json.loads(file.read_text())
    return str(manifest.get("archive") or archive_of_day(settings, manifest["as_of"]))
