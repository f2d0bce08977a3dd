"""Stores as earlier versions of the software made them."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine

from serving.store.database import Database


@contextmanager
def earlier_store(url: str, version: str) -> Iterator[Connection]:
    """Yield a connection to a store that is migrated up to a schema version."""
    config = Config()
    config.set_main_option("script_location", "serving.store:migrations")
    engine = create_engine(Database(url).url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        yield connection
    engine.dispose()
