"""The archive: every published forecast and decision beside the inputs it was made from.

A folder never changes; after as long as the home keeps it (`orchestration.defs.retention`) it goes as a whole.

A folder `archive/<as-of>_<hash>/` holds what the models and the restock engine said, the tables the decision rests on
and `archive.json` with versions and seeds: enough to make it again (`orchestration.planning.decision.reproduce`).
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from orchestration.home.fingerprints import code_version
from orchestration.home.settings import Settings
from orchestration.warehouse.build import Build
from orchestration.warehouse.exports import ALL_MONTHS, content_hash, export_path, files_of, share

DECISION_INPUTS = (
    *("marts.fct_stock_position", "marts.fct_open_orders", "marts.fct_replenishment_terms"),
    *("marts.fct_reservations", "marts.fct_stock_lots", "marts.dim_transfer_lanes", "marts.dim_product_seasons"),
    *("marts.dim_product_links", "marts.fct_predecessor_stock"),
)
# What a decision rests on besides: the forecasts, the policies, and what people and the ERP have made of proposals.
DECISION_PREDICTIONS = (
    *("demand_forecasts", "restock_policies", "held_levels"),
    *("open_proposals", "open_transfers", "rejected_needs", "rejected_transfers"),
)
# What a decision takes from the settings of its home; the rest of them is in its policy table.
DECISION_SETTINGS = ("seed", "path_count", "order_budget")
# What was published before is kept beside a decision and is no part of it.
COMPARISONS = ("previous_restock_lines", "previous_restock_terms")
# What is read from the archive, to be published again, is not put into it.
HISTORIES = ("published_forecasts", "item_snapshots", "generations")
ARCHIVED_INPUTS = (
    *DECISION_INPUTS,
    *("marts.fct_daily_demand", "marts.fct_planned_days", "marts.dim_item_locations"),
)


def archive_decisions(settings: Settings, build: Build, models: Mapping[str, Mapping[str, str]]) -> str:
    """Keep this run's predictions and decisions with their inputs; return the name of the archive folder.

    The same content has the same name and is kept once.

    Raises:
        OSError: the disk is full or not writable; nothing half-written stays.
    """
    predictions = sorted(path for path in settings.predictions.glob("*.parquet") if path.stem not in HISTORIES)
    inputs = {relation.split(".")[1]: export_path(settings, relation) for relation in ARCHIVED_INPUTS}
    contents = {path.stem: path for path in predictions} | inputs
    hashes = {name: content_hash(path)[1] for name, path in contents.items() if name not in COMPARISONS}
    known = {"as_of": build.as_of, "models": models, "content": hashes, "code_version": code_version()}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    folder = settings.archive / f"{build.as_of}_{digest}"
    if folder.exists():
        return folder.name
    beside = settings.archive / f".{folder.name}.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for name, path in contents.items():
            target = beside / name if path.name == ALL_MONTHS else beside
            target.mkdir(exist_ok=True)
            for file in files_of(path):
                share(file, target / file.name)
        chosen = {name: getattr(settings, name) for name in DECISION_SETTINGS}
        details = {**known, "build": asdict(build), **chosen}
        (beside / "archive.json").write_text(json.dumps(details, indent=2))
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder.name


def archives_in_force(settings: Settings, build: Build) -> dict[str, Path]:
    """Return the archive that was in force at the end of each business day before that of a build, by day, ISO.

    Of several of one day the last counts. A run that looks back at a day which was over (`--as-of`) was never in force.
    """
    made: dict[str, tuple[str, Path]] = {}
    for details in settings.archive.glob("[!.]*/archive.json"):
        known = json.loads(details.read_text())
        day, data_day = known["as_of"], known["build"].get("data_as_of")
        if day < build.as_of and not (data_day and data_day > day):
            this = (known["build"]["ingested_until"], details.parent)
            made[day] = max(this, made.get(day, this))
    return {day: folder for day, (_, folder) in sorted(made.items())}


def archive_of_day(settings: Settings, as_of: str) -> str:
    """Return the name of the latest archive of a business day, ISO: of the day as it was lived, else as looked back at.

    Raises:
        FileNotFoundError: there is none; the message lists the latest days.
    """
    made = []
    for path in settings.archive.glob(f"{as_of}_*/archive.json"):
        build = Build(**json.loads(path.read_text())["build"])
        made.append((not build.looks_back, build.ingested_until, path.parent.name))
    if not made:
        days = ", ".join(sorted({path.name.split("_")[0] for path in settings.archive.glob("[!.]*")})[-5:]) or "none"
        raise FileNotFoundError(f"the archive of {settings.home} has nothing of {as_of}; its latest days are: {days}")
    return max(made)[2]


def archived(settings: Settings, name: str) -> Path:
    """Return an archive folder by its name.

    Raises:
        FileNotFoundError: there is none; the message lists the latest.
    """
    folder = settings.archive / name
    if not folder.is_dir():
        latest = ", ".join(sorted(path.name for path in settings.archive.glob("[!.]*"))[-5:]) or "none"
        raise FileNotFoundError(f"the archive of {settings.home} has no {name}; the latest are: {latest}")
    return folder
