"""First version: event log with its derived tables, quarantine, offsets, epochs, outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables and the head of an empty ledger."""
    op.create_table(
        "authorities",
        sa.Column("source", String, nullable=False),
        sa.Column("door", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_authorities")),
    )
    op.create_table(
        "batches",
        sa.Column("batch", Number, autoincrement=False, nullable=False),
        sa.Column("first_sequence", Number, nullable=False),
        sa.Column("last_sequence", Number, nullable=False),
        sa.Column("door", String, nullable=False),
        sa.Column("ingested_at", Number, nullable=False),
        sa.Column("previous_hash", String, nullable=False),
        sa.Column("chain_hash", String, nullable=False),
        sa.PrimaryKeyConstraint("batch", name=op.f("pk_batches")),
        sa.UniqueConstraint("first_sequence", name=op.f("uq_batches_first_sequence")),
        sa.UniqueConstraint("last_sequence", name=op.f("uq_batches_last_sequence")),
    )
    op.create_table(
        "claims",
        sa.Column("name", String, nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", String, nullable=False),
        sa.Column("detail", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("name", "fence", name=op.f("pk_claims")),
    )
    op.create_table(
        "epochs",
        sa.Column("name", String, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("value", String, nullable=False),
        sa.Column("run_id", String, nullable=False),
        sa.Column("detail", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_epochs")),
    )
    op.create_table(
        "events",
        sa.Column("sequence", Number, autoincrement=False, nullable=False),
        sa.Column("event_id", String, nullable=False),
        sa.Column("event_type", String, nullable=False),
        sa.Column("source", String, nullable=False),
        sa.Column("document", String, nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("occurred_at", Number, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.Column("sku", String, nullable=True),
        sa.Column("location_id", String, nullable=True),
        sa.Column("movement_type", String, nullable=True),
        sa.Column("quantity_thousandths", Number, nullable=True),
        sa.Column("unit_price_ten_thousandths", Number, nullable=True),
        sa.Column("lot_id", String, nullable=True),
        sa.Column("reference", String, nullable=True),
        sa.Column("reason", String, nullable=True),
        sa.Column("payload", String, nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_events_event_id")),
    )
    op.create_index(
        "ix_events_counts",
        "events",
        ["sku", "location_id", "occurred_at"],
        unique=False,
        sqlite_where=sa.text("event_type = 'count'"),
        postgresql_where=sa.text("event_type = 'count'"),
    )
    op.create_index("ix_events_identity", "events", ["source", "document", "line", "revision"], unique=True)
    op.create_index("ix_events_item", "events", ["sku", "location_id", "occurred_at"], unique=False)
    op.create_table(
        "ledger_head",
        sa.Column("head_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", Number, nullable=False),
        sa.Column("batch", Number, nullable=False),
        sa.Column("chain_hash", String, nullable=False),
        sa.Column("ingested_at", Number, nullable=False),
        sa.Column("quarantine_id", Number, nullable=False),
        sa.Column("outbox_version", Number, nullable=False),
        sa.CheckConstraint("head_id = 1", name=op.f("ck_ledger_head_single_row")),
        sa.PrimaryKeyConstraint("head_id", name=op.f("pk_ledger_head")),
    )
    op.create_table(
        "live_stock",
        sa.Column("sku", String, nullable=False),
        sa.Column("location_id", String, nullable=False),
        sa.Column("counted_at", Number, nullable=True),
        sa.Column("ledger_thousandths", Number, nullable=False),
        sa.Column("published_thousandths", Number, nullable=False),
        sa.Column("last_occurred_at", Number, nullable=True),
        sa.Column("sequence", Number, nullable=False),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("sku", "location_id", name=op.f("pk_live_stock")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "proposals",
        sa.Column("proposal_id", String, nullable=False),
        sa.Column("as_of_date", String, nullable=False),
        sa.Column("supplier_id", String, nullable=False),
        sa.Column("sku", String, nullable=False),
        sa.Column("location_id", String, nullable=False),
        sa.Column("order_thousandths", Number, nullable=False),
        sa.Column("unit_cost_ten_thousandths", Number, nullable=True),
        sa.Column("order_by_date", String, nullable=True),
        sa.Column("expires_date", String, nullable=True),
        sa.Column("detail", String, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("erp_order", String, nullable=True),
        sa.Column("has_order_line", sa.Boolean(), nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("proposed_at", Number, nullable=False),
        sa.Column("changed_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_proposals")),
    )
    op.create_index("ix_proposals_item", "proposals", ["sku", "location_id"], unique=False)
    op.create_index("ix_proposals_state", "proposals", ["state", "proposal_id"], unique=False)
    op.create_index(
        "ix_proposals_undecided",
        "proposals",
        ["sku", "location_id"],
        unique=True,
        sqlite_where=sa.text("state = 'proposed'"),
        postgresql_where=sa.text("state = 'proposed'"),
    )
    op.create_table(
        "published_stock",
        sa.Column("sku", String, nullable=False),
        sa.Column("location_id", String, nullable=False),
        sa.Column("on_hand_thousandths", Number, nullable=False),
        sa.Column("counted_at", Number, nullable=True),
        sa.Column("last_occurred_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("sku", "location_id", name=op.f("pk_published_stock")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", Number, autoincrement=False, nullable=False),
        sa.Column("door", String, nullable=False),
        sa.Column("position", String, nullable=False),
        sa.Column("original", sa.LargeBinary(), nullable=False),
        sa.Column("original_sha256", String, nullable=False),
        sa.Column("rule", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("corrected", sa.LargeBinary(), nullable=True),
        sa.Column("state", String, nullable=False),
        sa.Column("ingested_at", Number, nullable=False),
        sa.Column("settled_at", Number, nullable=True),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
    )
    op.create_index("ix_quarantine_delivery", "quarantine", ["door", "position", "original_sha256"], unique=True)
    op.create_index("ix_quarantine_state", "quarantine", ["state", "quarantine_id"], unique=False)
    op.create_table(
        "stream_offsets",
        sa.Column("door", String, nullable=False),
        sa.Column("topic", String, nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", Number, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("door", "topic", "partition", name=op.f("pk_stream_offsets")),
    )
    op.create_table(
        "policies",
        sa.Column("sequence", Number, autoincrement=False, nullable=False),
        sa.Column("scope", String, nullable=False),
        sa.Column("segment", String, nullable=True),
        sa.Column("sku", String, nullable=True),
        sa.Column("location_id", String, nullable=True),
        sa.Column("setting", String, nullable=False),
        sa.Column("value", String, nullable=True),
        sa.Column("valid_from", String, nullable=False),
        sa.Column("valid_to", String, nullable=True),
        sa.Column("reason", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.ForeignKeyConstraint(["sequence"], ["events.sequence"], name=op.f("fk_policies_sequence")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_policies")),
    )
    op.create_table(
        "proposal_steps",
        sa.Column("proposal_id", String, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposals.proposal_id"], name=op.f("fk_proposal_steps_proposal_id")),
        sa.PrimaryKeyConstraint("proposal_id", "step", name=op.f("pk_proposal_steps")),
    )
    op.create_table(
        "quarantine_steps",
        sa.Column("quarantine_id", Number, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", Number, nullable=False),
        sa.ForeignKeyConstraint(
            ["quarantine_id"], ["quarantine.quarantine_id"], name=op.f("fk_quarantine_steps_quarantine_id")
        ),
        sa.PrimaryKeyConstraint("quarantine_id", "step", name=op.f("pk_quarantine_steps")),
    )
    op.execute(
        "INSERT INTO ledger_head (head_id, sequence, batch, chain_hash, ingested_at, quarantine_id, outbox_version) "
        f"VALUES (1, 0, 0, '{'0' * 64}', 0, 0, 0)"
    )
