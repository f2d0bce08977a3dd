"""The dbt project as `inventorybot prepare` parsed it, and the program that runs dbt on it.

Parsing takes as long as building a small warehouse, and dbt parses again whenever its variables differ, as the business
day does every day. The project reads no variable while it is parsed, so what was parsed once serves every run.

Belongs here: what runs in dbt's own process, which loads no Dagster. Does not: the assets (defs/assets/warehouse.py).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.home.fingerprints import code_fingerprint, library_fingerprint
from orchestration.home.lock import HomeError
from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER, WAREHOUSE_NAME

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# A folder of its own: whoever runs dbt by hand writes to target/ itself, perhaps with another warehouse.
PARSED = DBT_PROJECT / "target" / "prepared"
MANIFEST = PARSED / "manifest.json"
_MANIFEST_OF_DBT = PARSED / "partial_parse.msgpack"
FINGERPRINT = PARSED / "fingerprint"


def fingerprint() -> str:
    """Return what the parsed project depends on: the files of the project and the version of dbt."""
    return f"{code_fingerprint('dbt_project')}, {library_fingerprint(['dbt-core', 'dbt-duckdb'])}"


def is_parsed() -> bool:
    """Tell whether the project is as it was when it was parsed."""
    return MANIFEST.exists() and FINGERPRINT.exists() and FINGERPRINT.read_text() == fingerprint()


def prepare_project() -> None:
    """Parse the dbt project when its files have changed since the last time; a fresh clone has no manifest.

    Raises:
        HomeError: dbt cannot parse it; the message holds what dbt says.
    """
    if is_parsed():
        return
    FINGERPRINT.unlink(missing_ok=True)
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", "parse", "--no-partial-parse"]
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    result = subprocess.run(
        [*command, *folders, "--target-path", str(PARSED)],
        cwd=PROJECT_FOLDER,
        # dbt calls the database after its file; the folder is that of no home yet.
        env=os.environ | {"INVENTORYBOT_WAREHOUSE": WAREHOUSE_NAME},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise HomeError(f"dbt cannot parse {DBT_PROJECT}:\n{result.stdout}{result.stderr}")
    FINGERPRINT.write_text(fingerprint())


def read_parsed() -> "Manifest | None":
    """Return the parsed project as dbt takes it; None = the project is no longer as it was when it was parsed."""
    from dbt.contracts.graph.manifest import Manifest

    if not is_parsed() or not _MANIFEST_OF_DBT.exists():
        return None
    parsed = Manifest.from_msgpack(_MANIFEST_OF_DBT.read_bytes())
    parsed.build_flat_graph()  # type: ignore[no-untyped-call]
    return parsed


def main() -> None:
    """Run dbt with the arguments of this process; it parses for itself where the project is no longer as it was."""
    from dbt.cli.main import dbtRunner

    result = dbtRunner(read_parsed()).invoke(sys.argv[1:])
    sys.exit(str(result.exception) if result.exception else not result.success)


if __name__ == "__main__":
    main()
