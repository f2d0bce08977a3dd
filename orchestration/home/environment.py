"""What the environment says of the home: its settings.

Belongs here: reading every variable that becomes a setting. Does not: what opens a landing folder (ingest/landing.py),
the databases of the sources (ingest/sql_sources.py) and the addresses of people (notifications.py), which read theirs.
"""

import os
import re
from datetime import date
from pathlib import Path

from orchestration.home.plain_paths import plain_address
from orchestration.home.settings import PROJECT_FOLDER, Settings

OTHER_VARIABLES = {
    "INVENTORYBOT_NOTIFY_WEBHOOK": "Address that takes reports of failed runs and late events as JSON, `https://...`",
    "INVENTORYBOT_NOTIFY_SMTP": "Mail server for the same reports, `smtp://user:password@host:587` or `smtps://...`",
    "INVENTORYBOT_NOTIFY_TO": "Recipients of the mails, separated by commas; needed with INVENTORYBOT_NOTIFY_SMTP",
    "INVENTORYBOT_NOTIFY_FROM": "Sender of the mails; default: the first address of INVENTORYBOT_NOTIFY_TO",
    "INVENTORYBOT_EXPORT_URL": "Database that takes approved proposals, `postgresql://user@host/database`",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY": "Credentials for a landing in S3; AWS_PROFILE works too",
    "AWS_ENDPOINT_URL_S3": "S3 server other than Amazon's",
    "OMP_NUM_THREADS, OPENBLAS_NUM_THREADS, MKL_NUM_THREADS, TF_NUM_INTRAOP_THREADS": (
        "Threads of numerical libraries; default: one per core; 1 suits a machine that others use; recorded with each "
        "training"
    ),
    "OMP_WAIT_POLICY": (
        "What threads of XGBoost and scikit-learn do while they wait; default: passive (sleep); active (spin) suits a "
        "machine that runs nothing else"
    ),
    "INVENTORYBOT_WAREHOUSE, INVENTORYBOT_RAW, INVENTORYBOT_PREDICTIONS": (
        "Paths that a run sets for dbt; needed only to run dbt by hand"
    ),
}
"""Variables that are no settings of a home, with their meaning."""


def read_settings() -> Settings:
    """Read the settings of the home from the environment.

    Raises:
        ValueError: a variable holds a value that cannot be read; the message names variable, value and remedy.
    """
    home = _read_home()
    plain = plain_address(home)
    return Settings(
        home=home,
        plain_home=plain,
        landing=_read_landing(home),
        store_url=os.environ.get("INVENTORYBOT_STORE_URL") or f"sqlite:///{plain / 'online_store.sqlite'}",
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{plain / 'mlflow' / 'mlflow.db'}",
        artifact_root=os.environ.get("INVENTORYBOT_ARTIFACTS") or str(home / "mlflow" / "artifacts"),
        as_of=_read_day("INVENTORYBOT_AS_OF"),
        target_type=_read_choice("INVENTORYBOT_TARGET_TYPE", "cost", "cycle_service_level"),
        cycle_service_level=_read_number("INVENTORYBOT_CYCLE_SERVICE_LEVEL", 0.95, above=0.5, below=1.0),
        holding_cost_rate=_read_number("INVENTORYBOT_HOLDING_COST_RATE", 0.25, above=0.0, below=10.0),
        order_budget=_read_budget("INVENTORYBOT_ORDER_BUDGET"),
        currency=_read_currency("INVENTORYBOT_CURRENCY"),
        plan_other_consumption=int(_read_choice("INVENTORYBOT_PLAN_OTHER_CONSUMPTION", "0", "1")),
        proposal_overdue_days=_read_whole("INVENTORYBOT_PROPOSAL_OVERDUE_DAYS", 14, above=-1, below=3_650),
        generations_kept=_read_whole("INVENTORYBOT_GENERATIONS_KEPT", 5, above=0, below=10_000),
        runs_kept_days=_read_whole("INVENTORYBOT_RUNS_KEPT_DAYS", 90, above=0, below=100_000),
        runs_kept=_read_whole("INVENTORYBOT_RUNS_KEPT", 300, above=0, below=1_000_000),
        file_rows=_read_whole("INVENTORYBOT_FILE_ROWS", 50_000_000, above=0, below=2_000_000_000),
        file_gigabytes=_read_whole("INVENTORYBOT_FILE_GIGABYTES", 16, above=0, below=10_000),
        file_ratio=_read_whole("INVENTORYBOT_FILE_RATIO", 200, above=0, below=1_000_000),
        file_seconds=_read_whole("INVENTORYBOT_FILE_SECONDS", 600, above=0, below=100_000),
        files_a_run=_read_whole("INVENTORYBOT_FILES_A_RUN", 2_000, above=0, below=1_000_000),
        follow_links=int(_read_choice("INVENTORYBOT_FOLLOW_LINKS", "0", "1")),
        archive_kept_days=_read_whole("INVENTORYBOT_ARCHIVE_KEPT_DAYS", 400, above=-1, below=100_000),
    )


def thread_limits() -> dict[str, str]:
    """Return the variables that bound the threads of numerical libraries, those that are set."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    return {name: os.environ[name] for name in names if name in os.environ}


def _read_home() -> Path:
    home = Path(os.environ.get("INVENTORYBOT_HOME") or PROJECT_FOLDER / "data").expanduser().resolve()
    if set(str(home)) & set("\\?") or not str(home).isprintable():
        raise ValueError(
            f"INVENTORYBOT_HOME={str(home)!r} has a backslash, a question mark or a control character in its path, "
            "which no database reads: rename the folder"
        )
    return home


def _read_landing(home: Path) -> Path | str:
    text = os.environ.get("INVENTORYBOT_LANDING")
    if text and "://" in text:
        return text
    return Path(text or home / "landing").expanduser().resolve()


def _read_day(name: str) -> date | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a day; write it as 2011-12-08") from None


def _read_currency(name: str) -> str | None:
    text = os.environ.get(name, "").strip()
    if text and not re.fullmatch("[A-Z]{3}", text):
        raise ValueError(f"{name}={text!r} is no currency; write its three capital letters, as in EUR")
    return text or None


def _read_number(name: str, default: float, *, above: float, below: float) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number; write one between {above:g} and {below:g}") from None
    if not above < number < below:
        raise ValueError(f"{name}={text!r} is out of range; write a number between {above:g} and {below:g}")
    return number


def _read_choice(name: str, default: str, *others: str) -> str:
    text = os.environ.get(name) or default
    if text not in (default, *others):
        raise ValueError(f"{name}={text!r} is unknown; write {' or '.join((default, *others))}")
    return text


def _read_whole(name: str, default: int, *, above: int, below: int) -> int:
    number = _read_number(name, default, above=above, below=below)
    if number != int(number):
        raise ValueError(f"{name}={os.environ[name]!r} is not a whole number; write one between {above} and {below}")
    return int(number)


def _read_budget(name: str) -> float | None:
    return _read_number(name, 0.0, above=-1.0, below=1e15) if os.environ.get(name) else None
