"""What a home keeps, and for how long: Dagster's history and the archive are thinned out by rule.

Belongs here: which rules there are and what following them comes to. Does not: generations, which publication thins
out itself (publishing/generations.py). Raw arrivals and the ledger are never deleted: they are the record of what was
known when.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


@dataclass(frozen=True)
class Kept:
    """What following the rules comes to.

    Attributes:
        runs: runs in Dagster's history, and how many of them go.
        archives: archived decisions, and how many of them go.
        freed_bytes: what that gives back to the disk; None where nothing was removed.
        held: files that are given back later, because somebody reads them just now.
    """

    runs: tuple[int, int]
    archives: tuple[int, int]
    freed_bytes: int | None
    held: tuple[Path, ...] = ()

    def report(self, settings: Settings) -> list[str]:
        """Return a line for each rule: how many there are, how many go, and which setting says so."""
        archive_rule = (
            f"INVENTORYBOT_ARCHIVE_KEPT_DAYS={settings.archive_kept_days}"
            if settings.archive_kept_days
            else "INVENTORYBOT_ARCHIVE_KEPT_DAYS=0: for ever"
        )
        lines = [
            f"Dagster's history: {self.runs[1]:,} of {self.runs[0]:,} runs are removed"
            f" (INVENTORYBOT_RUNS_KEPT_DAYS={settings.runs_kept_days}, INVENTORYBOT_RUNS_KEPT={settings.runs_kept})",
            f"archived decisions: {self.archives[1]:,} of {self.archives[0]:,} are removed ({archive_rule});"
            " a removed one can no longer be reproduced",
            f"generations: the last {settings.generations_kept} are kept (INVENTORYBOT_GENERATIONS_KEPT)",
            "raw data and the ledger: kept for ever",
        ]
        lines += [f"{file} is in use; its space is given back next time" for file in self.held]
        return lines if self.freed_bytes is None else [*lines, f"{self.freed_bytes / 1e6:,.1f} MB freed"]


def tidy(settings: Settings, *, now: datetime, is_trial: bool = False) -> Kept:
    """Hold the home and forget what its rules let go, with the instance of Dagster that it keeps; see `apply`.

    Raises:
        HomeError: a run is working on the home.
    """
    from dagster import DagsterInstance

    from orchestration.home.lock import claimed
    from orchestration.home.prepare import configure_instance

    configure_instance(settings.dagster_home)
    with claimed(settings), DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        return apply(settings, instance, now=now, is_trial=is_trial)


def apply(settings: Settings, instance: "DagsterInstance", *, now: datetime, is_trial: bool = False) -> Kept:
    """Forget what the rules of a home let go; what a kept generation was decided from always stays.

    Args:
        settings: settings of the home, with the rules.
        instance: Dagster's instance of the home.
        now: the present instant, aware.
        is_trial: only say what would go.
    """
    from orchestration.defs.run_history import compact, ended_runs, forget_runs, runs_to_forget

    records = ended_runs(instance)
    runs = runs_to_forget(records, now=now, days=settings.runs_kept_days, most=settings.runs_kept)
    archives = sorted(settings.archive.glob("[!.]*/archive.json"))
    old = [path.parent for path in archives if _is_old(path, settings, now)]
    old = [folder for folder in old if folder.name not in _pinned(settings)]
    counted = (len(records), len(runs)), (len(archives), len(old))
    if is_trial:
        return Kept(*counted, None)
    dagster_home = Path(instance.root_directory)
    before = _size_of(dagster_home)
    freed = sum(_size_of(folder, alone=True) for folder in old)
    for folder in old:
        # It is gone from the first step on; a killed removal is taken up by the next one.
        folder.rename(folder.with_name(f".{folder.name}.old"))
    for folder in settings.archive.glob(".*.old"):
        shutil.rmtree(folder)
    forget_runs(instance, runs)
    held = compact(dagster_home)
    return Kept(*counted, max(freed + before - _size_of(dagster_home), 0), tuple(held))


def _is_old(archive: Path, settings: Settings, now: datetime) -> bool:
    """Tell whether an archive was made too long ago; the day that it speaks of may be any."""
    made = datetime.fromisoformat(json.loads(archive.read_text())["build"]["ingested_until"])
    return bool(settings.archive_kept_days) and now - made > timedelta(days=settings.archive_kept_days)


def _pinned(settings: Settings) -> set[str]:
    """Return the archives that the generations on disk were decided from."""
    return {str(json.loads(path.read_text()).get("archive")) for path in settings.published.glob("wh_*.json")}


def _size_of(folder: Path, *, alone: bool = False) -> int:
    """Return the bytes of the files below a folder; alone = of those that no other folder shares."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(stat.st_size for stat in found if not alone or stat.st_nlink == 1)
