"""Third version: a quarantined row that nobody has settled is open, as it is among the rows of files."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Give the rows that are there the name."""
    op.execute("UPDATE quarantine SET state = 'open' WHERE state = 'held'")
