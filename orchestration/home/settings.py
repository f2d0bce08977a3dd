"""Where state lives and the numbers a home may change: one object, every field with its unit and default.

Belongs here: plain values and the paths made from them. Does not: reading the environment (environment.py).
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
DBT_PROJECT = PROJECT_FOLDER / "dbt_project"
WAREHOUSE_NAME = "build.duckdb"


@dataclass(frozen=True)
class Settings:
    """Settings of one home.

    Attributes:
        home: folder that holds all state (INVENTORYBOT_HOME, default `data` of the checkout).
        landing: folder of arriving files, or `s3://bucket/prefix`; never modified (INVENTORYBOT_LANDING, default
            `<home>/landing`).
        as_of: business day to run for (INVENTORYBOT_AS_OF, default the last complete local day in the data).
        store_url: SQLAlchemy address of the online store (INVENTORYBOT_STORE_URL, default SQLite in the home).
        tracking_uri: MLflow tracking address (MLFLOW_TRACKING_URI, default SQLite in the home).
        artifact_root: where MLflow keeps artifacts (INVENTORYBOT_ARTIFACTS, default a folder in the home).
        target_type: what orders aim at: cost (the least holding and shortage cost) or cycle_service_level
            (INVENTORYBOT_TARGET_TYPE, default cost). Items without a margin, whose shortage costs nothing, always aim
            at the service level.
        cycle_service_level: probability of no stock-out in a replenishment cycle, for what aims at it
            (INVENTORYBOT_CYCLE_SERVICE_LEVEL, default 0.95).
        holding_cost_rate: yearly cost of holding stock as a share of its value (INVENTORYBOT_HOLDING_COST_RATE,
            default 0.25).
        order_budget: money for all orders of a day together (INVENTORYBOT_ORDER_BUDGET, default None = no limit).
        currency: currency of all money, its ISO 4217 code as in EUR; it stands beside the money of orders
            (INVENTORYBOT_CURRENCY, default None = not said).
        plan_other_consumption: whether use that recurs without a sale, booked as adjustments, is planned as
            demand, 0 or 1 (INVENTORYBOT_PLAN_OTHER_CONSUMPTION, default 0).
        proposal_overdue_days: days after its expected day for which an exported proposal without a purchase order line
            counts as on order (INVENTORYBOT_PROPOSAL_OVERDUE_DAYS, default 14).
        path_count: demand paths per item and location (default 500).
        generations_kept: published generations that stay on disk, and as many looked-back days
            (INVENTORYBOT_GENERATIONS_KEPT, default 5).
        runs_kept_days: days for which Dagster's history keeps a run (INVENTORYBOT_RUNS_KEPT_DAYS, default 90).
        runs_kept: runs that Dagster's history keeps at most, some 4 MB each (INVENTORYBOT_RUNS_KEPT, default 300).
        archive_kept_days: days for which a decision can be made again, from when it was made; 0 = for ever
            (INVENTORYBOT_ARCHIVE_KEPT_DAYS, default 400).
        file_rows: rows that a file of the landing folder has at most (INVENTORYBOT_FILE_ROWS, default 50000000).
        file_gigabytes: GiB that a file has at most, unpacked (INVENTORYBOT_FILE_GIGABYTES, default 16).
        file_ratio: bytes that a byte of a packed file unpacks to at most (INVENTORYBOT_FILE_RATIO, default 200).
        file_seconds: seconds for which a file is read at most (INVENTORYBOT_FILE_SECONDS, default 600).
        files_a_run: new files of a table that a run reads at most (INVENTORYBOT_FILES_A_RUN, default 2000).
        follow_links: whether links within the landing folder are followed, 0 or 1: whoever may write there then chooses
            which files of this machine are read (INVENTORYBOT_FOLLOW_LINKS, default 0).
        plain_home: the home, or a link to it, under a path without signs such as % that end or encode a URL: for tools
            that read paths as URLs (default None = the home).
        seed: seed of every random draw (default 0).
    """

    home: Path
    landing: Path | str
    store_url: str
    tracking_uri: str
    artifact_root: str
    as_of: date | None = None
    target_type: str = "cost"
    cycle_service_level: float = 0.95
    holding_cost_rate: float = 0.25
    order_budget: float | None = None
    currency: str | None = None
    plan_other_consumption: int = 0
    proposal_overdue_days: int = 14
    path_count: int = 500
    generations_kept: int = 5
    runs_kept_days: int = 90
    runs_kept: int = 300
    archive_kept_days: int = 400
    file_rows: int = 50_000_000
    file_gigabytes: int = 16
    file_ratio: int = 200
    file_seconds: int = 600
    files_a_run: int = 2_000
    follow_links: int = 0
    plain_home: Path | None = None
    seed: int = 0

    @property
    def sources_file(self) -> Path:
        """The databases that raw tables are pulled from."""
        return self.home / "sources.yml"

    @property
    def formats_file(self) -> Path:
        """How the files of single sources write numbers and times."""
        return self.home / "formats.yml"

    @property
    def raw(self) -> Path:
        """Arrival batches, one folder per table."""
        return self.home / "raw"

    @property
    def warehouse_file(self) -> Path:
        """The database that dbt alone opens."""
        return self.home / "warehouse" / WAREHOUSE_NAME

    @property
    def exports(self) -> Path:
        """Marts and reporting tables as Parquet, `<schema>/<table>.parquet`, of the latest build."""
        return self.home / "warehouse" / "exports"

    @property
    def predictions(self) -> Path:
        """What models and the restock engine handed to dbt's second pass, `<table>.parquet`."""
        return self.home / "warehouse" / "predictions"

    @property
    def archive(self) -> Path:
        """Every published forecast and decision with its inputs, as long as the home keeps them."""
        return self.home / "archive"

    @property
    def published(self) -> Path:
        """Generations that readers open."""
        return self.home / "published"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance: runs, events, schedules."""
        return (self.plain_home or self.home) / "dagster"
