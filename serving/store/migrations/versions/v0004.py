"""Fourth version: a transfer is a proposal; an order has its number, what the ERP made of it, its withdrawal."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns; what ended before this version is not sent as a withdrawal."""
    op.add_column("proposals", sa.Column("from_location_id", String, nullable=False, server_default=""))
    op.add_column("proposals", sa.Column("order_id", String, nullable=True))
    for name in ("exported_at", "withdrawn_at", "acknowledged_thousandths"):
        op.add_column("proposals", sa.Column(name, Number, nullable=True))
    op.drop_index("ix_proposals_undecided", "proposals")
    op.create_index(
        "ix_proposals_undecided",
        "proposals",
        ["sku", "location_id", "from_location_id"],
        unique=True,
        sqlite_where=sa.text("state = 'proposed'"),
        postgresql_where=sa.text("state = 'proposed'"),
    )
    op.execute(
        "UPDATE proposals SET exported_at = (SELECT min(recorded_at) FROM proposal_steps AS steps"
        " WHERE steps.proposal_id = proposals.proposal_id AND steps.state = 'exported')"
    )
    op.execute(
        "UPDATE proposals SET withdrawn_at = changed_at WHERE exported_at IS NOT NULL"
        " AND state NOT IN ('approved', 'exported', 'acknowledged', 'received')"
    )
