"""Bring a database to the schema version this software expects, and tell whether it is there."""

from sqlalchemy import Connection, exc, func, inspect, select, text

from serving.store.database import Database, sqlite_path, unavailable
from serving.store.errors import StoreOutdated
from serving.store.schema import VERSION

REMEDY = "run `inventorybot store migrate`"
# Making an empty store where there was one loses its ledger, so a backup comes first.
REMEDY_OF_NONE = (
    "restore its latest backup with `inventorybot store restore FILE`; for a home that never had one, make an empty "
    "store with `inventorybot store migrate`"
)

# Any number that no other program locks in the same database; spells "inve".
_ADVISORY_LOCK = 0x696E7665


def migrate(url: str) -> int:
    """Create the store or bring it to the current schema version; safe to repeat and to call twice at once.

    Args:
        url: database URL; the folder of a SQLite file must exist.

    Returns:
        The schema version reached.

    Raises:
        StoreError: the URL is not usable.
        StoreUnavailable: the database cannot be opened.
        StoreOutdated: the database was made by a later version of this software.
    """
    # Alembic costs a noticeable start-up that only this command needs.
    from alembic import command
    from alembic.config import Config

    database = Database(url)
    config = Config()
    config.set_main_option("script_location", "serving.store:migrations")
    try:
        with (
            database.engine.connect().execution_options(store_write=True) as connection,
            connection.begin(),
        ):
            if not database.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            found = version(connection)
            if found is not None and found > VERSION:
                raise StoreOutdated(_too_new(database.shown_url, found))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except exc.DatabaseError as error:
        told = unavailable(database.shown_url, error)
        if told is None:
            raise
        raise told from error
    finally:
        database.close()
    return int(VERSION)


def version(connection: Connection) -> str | None:
    """Return the schema version of the database, None where there is no store."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def exists(url: str) -> bool:
    """Tell whether there is an online store, of whichever schema version; a look does not make one.

    Raises:
        StoreUnavailable: the database cannot be opened.
    """
    database = Database(url)
    try:
        path = sqlite_path(database.url)
        if path is not None and not path.exists():
            return False
        with database.read() as connection:
            return version(connection) is not None
    finally:
        database.close()


def require_current(database: Database) -> None:
    """Raise unless the database holds exactly the schema version this software expects.

    Raises:
        StoreOutdated: there is no store, an older one, or a newer one; the message says what to do.
        StoreUnavailable: the database cannot be opened.
    """
    path = sqlite_path(database.url)
    # Connecting to a SQLite file that is not there would create an empty one.
    if path is not None and not path.exists():
        raise StoreOutdated(f"There is no online store at {database.shown_url}: {REMEDY_OF_NONE}.")
    with database.read() as connection:
        found = version(connection)
    if found is None:
        raise StoreOutdated(f"The database at {database.shown_url} is not an online store: {REMEDY_OF_NONE}.")
    if found > VERSION:
        raise StoreOutdated(_too_new(database.shown_url, found))
    if found < VERSION:
        raise StoreOutdated(
            f"The online store at {database.shown_url} has schema version {int(found)}, "
            f"this software needs {int(VERSION)}: {REMEDY}."
        )


def _too_new(shown_url: str, found: str) -> str:
    return (
        f"The online store at {shown_url} has schema version {found}, this software knows up to {int(VERSION)}: "
        "install the version of InventoryBot that made it, or a later one."
    )
