"""Second version: a proposal has a way back and an end, a rejection lasts, a restore advances the epoch of ids."""

import json
from datetime import date, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns and fill them from the steps and details of the proposals that are there."""
    op.add_column("ledger_head", sa.Column("outbox_epoch", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("ledger_head", sa.Column("restored_at", Number, nullable=True))
    for name in ("expected_date", "rejected_until_date", "held_reason", "ended_date"):
        op.add_column("proposals", sa.Column(name, String, nullable=True))
    for name in ("changed_by", "change_reason"):
        op.add_column("proposals", sa.Column(name, String, nullable=False, server_default=""))
    op.add_column("proposals", sa.Column("rejected_until_thousandths", Number, nullable=True))
    connection = op.get_bind()
    steps = {
        row.proposal_id: (row.author, row.reason)
        for row in connection.execute(
            sa.text("SELECT proposal_id, author, reason FROM proposal_steps ORDER BY proposal_id, step")
        )
    }
    rows = connection.execute(sa.text("SELECT proposal_id, state, as_of_date, detail FROM proposals")).all()
    filled = []
    for row in rows:
        author, reason = steps.get(row.proposal_id, ("", ""))
        # A rejection held for its business day alone.
        next_day = (date.fromisoformat(row.as_of_date) + timedelta(days=1)).isoformat()
        filled.append(
            {
                "proposal_id": row.proposal_id,
                "expected_date": json.loads(row.detail).get("expected_arrival_date"),
                "changed_by": author,
                "change_reason": reason,
                "rejected_until_date": next_day if row.state == "rejected" else None,
            }
        )
    if filled:
        connection.execute(
            sa.text(
                "UPDATE proposals SET expected_date = :expected_date, changed_by = :changed_by, "
                "change_reason = :change_reason, rejected_until_date = :rejected_until_date "
                "WHERE proposal_id = :proposal_id"
            ),
            filled,
        )
