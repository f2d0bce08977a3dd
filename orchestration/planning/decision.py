"""One restock decision from the files it rests on: of today, of an archived day made again, or under other conditions.

Belongs here: what the daily job, `reproduce` and `what-if` share. Does not: the decision itself
(ml/restock/recommendation.py).
"""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ml.schema import KEYS
from orchestration.home.fingerprints import code_version
from orchestration.home.settings import Settings
from orchestration.home.sql_text import path_literal
from orchestration.planning.archive import ARCHIVED_INPUTS, DECISION_SETTINGS, archived
from orchestration.warehouse import restock_frames as frames
from orchestration.warehouse.build import Build
from orchestration.warehouse.demand_frames import demand_history, items, planned_days
from orchestration.warehouse.handoff import write_predictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from ml.forecast import FittedForecaster
    from ml.restock import PathsOf, Plan, Scenario, World
    from ml.tracking import Tracking


_LINES = "restock_lines"


@dataclass(frozen=True)
class Reproduction:
    """An archived decision beside the same one made again.

    Attributes:
        archive: name of the archive folder.
        lines: archived recommendations.
        columns: columns compared.
        differences: cells that differ by column; columns without difference are left out.
        only_archived: lines that were not made again.
        only_made_again: lines that the archive does not hold.
        code_then: version of the code that made the archive.
        code_now: version of the present code.
    """

    archive: str
    lines: int
    columns: list[str]
    differences: dict[str, int]
    only_archived: int
    only_made_again: int
    code_then: str
    code_now: str

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.differences or self.only_archived or self.only_made_again)


def decide(settings: Settings, forecaster: "FittedForecaster") -> "Plan":
    """Return the restock line of every item with terms, and what to move between locations before buying."""
    from ml.restock import plan_orders

    paths_of, world = _read(settings, forecaster)
    return plan_orders(paths_of, world, seed=settings.seed)


def _read(settings: Settings, forecaster: "FittedForecaster") -> "tuple[PathsOf, World]":
    """Read all that a decision of the latest build rests on, each file once.

    Returns:
        What samples the demand of some items, a chunk of items at a time, and all that is known besides demand.
    """
    from ml.restock import World

    known = items(settings)
    history = demand_history(settings, known)
    # Laid out once: a decision asks several times, for some of the items again.
    prepared = forecaster.prepare(history, planned_days(settings, forecaster.horizon, known))
    policies, promised = frames.policies_in_force(settings), frames.promises(settings)
    sold = history.loc[history["demand_units"] > 0, KEYS].drop_duplicates()

    def paths_of(keys: "pd.DataFrame") -> "Iterable[tuple[pd.DataFrame, npt.NDArray[np.float32]]]":
        return prepared.sample_paths(settings.path_count, keys, settings.seed)

    return paths_of, World(
        position=frames.stock_position(settings, promised),
        open_orders=frames.open_orders(settings),
        terms=frames.restock_terms(settings, policies, sold),
        policy=frames.restock_policy(policies),
        lots=frames.stock_lots(settings),
        promises=promised,
        lanes=frames.transfer_lanes(settings),
        budget=settings.order_budget,
        rejections=frames.rejections(settings),
        held=frames.held_levels(settings),
        rejected_transfers=frames.rejected_transfers(settings),
    )


def compare_scenarios(
    settings: Settings, forecaster: "FittedForecaster", scenarios: "Sequence[Scenario]"
) -> "pd.DataFrame":
    """Return what the latest build would order as it is and under each scenario; nothing is written.

    Returns:
        Columns of `ml.restock.scenarios.what_if`, one row per scenario, "as it is" first.
    """
    from ml.restock import what_if

    paths_of, world = _read(settings, forecaster)
    return what_if(paths_of, world, scenarios, seed=settings.seed)


def reproduce(settings: Settings, archive: str, tracking: "Tracking") -> Reproduction:
    """Make an archived decision again, from its archived inputs and the model version it names, and compare.

    Raises:
        FileNotFoundError: there is no such archive, or it lacks an input; the message says which.
        ml.tracking.FolderHashError: the model is not what its gate judged.
    """
    from ml.forecast import load

    folder = archived(settings, archive)
    details = json.loads((folder / "archive.json").read_text())
    version = tracking.version("demand_forecast", details["models"]["demand_forecast"]["version"])
    forecaster = load(tracking.load_folder(version))
    with tempfile.TemporaryDirectory(prefix="inventorybot_") as scratch:
        # An archive that names no budget says nothing of it: the present one is as good a guess as any.
        chosen = {name: details[name] for name in DECISION_SETTINGS if name in details}
        then = replace(settings, home=Path(scratch), **chosen)
        _lay_out(folder, then)
        (then.predictions / f"{_LINES}.parquet").unlink()
        lines = decide(then, forecaster).lines
        made = write_predictions(then, _LINES, lines, Build(**details["build"]), version.version)
        found = _difference(folder / f"{_LINES}.parquet", made)
    return Reproduction(archive, *found, details["code_version"], code_version())


def _lay_out(folder: Path, then: Settings) -> None:
    """Show the flat archive as the home that the frames read."""
    exports = {relation.split(".")[1]: relation.split(".")[0] for relation in ARCHIVED_INPUTS}
    kept = [path for path in folder.iterdir() if path.is_dir() or path.suffix == ".parquet"]
    missing = sorted(exports.keys() - {path.stem for path in kept})
    if missing:
        raise FileNotFoundError(
            f"the archive {folder} lacks {', '.join(missing)}: an earlier version of this software wrote it; it can be "
            "read but not reproduced"
        )
    for path in kept:
        target = then.exports / exports[path.stem] if path.stem in exports else then.predictions
        target.mkdir(parents=True, exist_ok=True)
        (target / path.name).symlink_to(path.resolve())


def _difference(before: Path, after: Path) -> tuple[int, list[str], dict[str, int], int, int]:
    with duckdb.connect() as connection:
        for name, path in (("archived", before), ("made", after)):
            connection.execute(f"create view {name} as select * from read_parquet({path_literal(path)})")
        columns = [name for name, *_ in connection.sql("describe archived").fetchall()]
        compared = [name for name in columns if name not in ("sku", "location_id")]
        counts = ", ".join(
            f'count(*) filter (where archived."{name}" is distinct from made."{name}")' for name in compared
        )
        joined = "archived inner join made using (sku, location_id)"
        differing = connection.sql(f"select {counts} from {joined}").fetchall()[0]
        lines, only_archived, only_made = (
            connection.sql(f"select count(*) from {source}").fetchall()[0][0]
            for source in (
                "archived",
                "archived anti join made using (sku, location_id)",
                "made anti join archived using (sku, location_id)",
            )
        )
    differences = {name: count for name, count in zip(compared, differing, strict=True) if count}
    return lines, columns, differences, only_archived, only_made
