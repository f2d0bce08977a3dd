"""The command `inventorybot` as a process of its own, on a home that a test names."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "inventorybot")


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INVENTORYBOT_", "DAGSTER_"))}
    return kept | {"INVENTORYBOT_HOME": str(home), "PYTHONWARNINGS": "ignore"}


def inventorybot(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=environment(home), capture_output=True, text=True, timeout=400, check=False
    )
