"""What a training ran with: enough to make it again.

Belongs here: versions, lock, code, threads, machine. Does not: data and parameters, which the training knows.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestration.home.environment import thread_limits
from orchestration.home.fingerprints import code_version
from orchestration.home.settings import PROJECT_FOLDER

LOCK = PROJECT_FOLDER / "requirements.lock"


def training_environment(lock: Path = LOCK, project: Path = PROJECT_FOLDER) -> dict[str, Any]:
    """Return what the code ran with, for `ml.tracking.TrainingRecord`.

    Args:
        lock: requirements with hashes that the set-up installs from.
        project: checkout whose commit is recorded.

    Returns:
        python, platform, machine, cores, thread_limits (OMP_NUM_THREADS and its like), code_version; git_commit and
        git_is_changed (tracked files differ from it), both None where `project` is no checkout; lock_sha256, packages
        (name -> installed version of what the lock names) and differs_from_lock (what is installed in another version
        than the lock's; packages of other platforms are neither installed nor listed), None where there is no lock.
    """
    commit, is_changed = _commit(project)
    known = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "thread_limits": thread_limits(),
        "code_version": code_version(),
        "git_commit": commit,
        "git_is_changed": is_changed,
    }
    if not lock.is_file():
        return known | dict.fromkeys(("lock_sha256", "packages", "differs_from_lock"))
    wanted = locked_versions(lock)
    installed = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in metadata.distributions()}
    packages = {name: installed[name] for name in wanted if name in installed}
    return known | {
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest(),
        "packages": packages,
        "differs_from_lock": [
            f"{name} {version}, locked {wanted[name]}" for name, version in packages.items() if version != wanted[name]
        ],
    }


def locked_versions(lock: Path) -> dict[str, str]:
    """Return name -> version of the packages that a lock in pip's format pins."""
    pinned = (line.split(";")[0].split(" ")[0].split("==") for line in lock.read_text().splitlines() if "==" in line)
    return {parts[0].split("[")[0].strip().lower().replace("_", "-"): parts[1].strip() for parts in pinned}


def _commit(project: Path) -> tuple[str | None, bool | None]:
    git = shutil.which("git")
    if git is None:
        return None, None

    def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([git, "-C", str(project), *arguments], capture_output=True, text=True, check=False)

    # The way up to the top of the checkout is empty where `project` is itself that top.
    found = ask("rev-parse", "--show-cdup", "HEAD")
    up, _, commit = found.stdout.partition("\n")
    if found.returncode != 0 or up:
        return None, None
    return commit.strip(), bool(ask("status", "--porcelain", "--untracked-files=no").stdout.strip())
