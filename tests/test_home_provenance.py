"""What a training ran with."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from orchestration.home.provenance import LOCK, locked_versions, training_environment


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.lock"
    file.write_text(
        f"# Made by hand.\nnumpy=={metadata.version('numpy')} \\\n    --hash=sha256:0\nPandas==0.1 ; os_name > ''\n"
        "nowhere-to-be-found==1.0\n"
    )
    return file


def test_the_machine_and_its_python_are_told(tmp_path: Path) -> None:
    found = training_environment(project=tmp_path)
    assert (found["python"], found["platform"]) == (platform.python_version(), platform.platform())
    assert found["cores"] >= 1


def test_the_limits_of_threads_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert training_environment(project=tmp_path)["thread_limits"]["OMP_NUM_THREADS"] == "3"


def test_what_is_installed_otherwise_than_locked_is_told(lock: Path, tmp_path: Path) -> None:
    found = training_environment(lock, tmp_path)
    assert found["packages"] == {name: metadata.version(name) for name in ("numpy", "pandas")}
    assert found["differs_from_lock"] == [f"pandas {metadata.version('pandas')}, locked 0.1"]


def test_another_lock_has_another_hash(lock: Path, tmp_path: Path) -> None:
    before = training_environment(lock, tmp_path)["lock_sha256"]
    lock.write_text(lock.read_text() + "\n")
    assert training_environment(lock, tmp_path)["lock_sha256"] != before


def test_the_lock_of_the_project_is_read_whole() -> None:
    pinned = sum("==" in line and not line.startswith((" ", "#")) for line in LOCK.read_text().splitlines())
    assert len(locked_versions(LOCK)) == pinned > 200


def test_a_project_without_lock_or_checkout_says_nothing_of_them(tmp_path: Path) -> None:
    found = training_environment(tmp_path / "requirements.lock", tmp_path)
    unknown = ("lock_sha256", "packages", "differs_from_lock", "git_commit", "git_is_changed")
    assert all(found[name] is None for name in unknown)


def test_the_commit_is_that_of_the_project_and_edits_are_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    found = training_environment(project=tmp_path)
    assert (found["git_commit"], found["git_is_changed"]) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "code.py").write_text("2\n")
    assert training_environment(project=tmp_path)["git_is_changed"] is True


def test_a_folder_inside_another_checkout_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "another project")
    (tmp_path / "inside").mkdir()
    assert training_environment(project=tmp_path / "inside")["git_commit"] is None
