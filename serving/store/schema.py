"""Tables of the online store. Shapes and indexes only; what the rows mean to whom is in the modules beside it.

Conventions: an instant is an integer, microseconds since 1970-01-01 UTC (`_at`); a local calendar date is ISO text
(`_date`); a quantity is an integer number of thousandths of a unit; money is an integer number of ten-thousandths.
Text compares by code point in every database, because the order of a fold must not depend on a locale.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

VERSION = "0004"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes only a column declared INTEGER the row id itself; a BIGINT key would be a second index.
Number = BigInteger().with_variant(Integer, "sqlite")
String = Text().with_variant(Text(collation="C"), "postgresql")

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("head_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Number, nullable=False),
    Column("batch", Number, nullable=False),
    Column("chain_hash", String, nullable=False),
    Column("ingested_at", Number, nullable=False),
    Column("quarantine_id", Number, nullable=False),
    Column("outbox_version", Number, nullable=False),
    # Part of every proposal_id; a restore advances it, so that what the lost part gave out is given out no more.
    Column("outbox_epoch", Integer, nullable=False),
    # When the store was filled from a backup, until a person has confirmed what the ERP holds.
    Column("restored_at", Number),
    CheckConstraint("head_id = 1", name="single_row"),
)

# The databases of 0.1.0 call a channel `door`; the columns keep that name.
batches = Table(
    "batches",
    metadata,
    Column("batch", Number, primary_key=True, autoincrement=False),
    Column("first_sequence", Number, nullable=False, unique=True),
    Column("last_sequence", Number, nullable=False, unique=True),
    Column("door", String, key="channel", nullable=False),
    Column("ingested_at", Number, nullable=False),
    Column("previous_hash", String, nullable=False),
    Column("chain_hash", String, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("event_id", String, nullable=False, unique=True),
    Column("event_type", String, nullable=False),
    Column("source", String, nullable=False),
    Column("document", String),
    Column("line", Integer),
    Column("revision", Integer),
    Column("occurred_at", Number, nullable=False),
    Column("recorded_at", Number, nullable=False),
    Column("sku", String),
    Column("location_id", String),
    Column("movement_type", String),
    Column("quantity_thousandths", Number),
    Column("unit_price_ten_thousandths", Number),
    Column("lot_id", String),
    Column("reference", String),
    Column("reason", String),
    Column("payload", String),
)
Index("ix_events_identity", *(events.c[name] for name in ("source", "document", "line", "revision")), unique=True)
Index("ix_events_item", events.c.sku, events.c.location_id, events.c.occurred_at)
Index(
    "ix_events_counts",
    events.c.sku,
    events.c.location_id,
    events.c.occurred_at,
    sqlite_where=text("event_type = 'count'"),
    postgresql_where=text("event_type = 'count'"),
)

live_stock = Table(
    "live_stock",
    metadata,
    Column("sku", String, primary_key=True),
    Column("location_id", String, primary_key=True),
    Column("counted_at", Number),
    Column("ledger_thousandths", Number, nullable=False),
    Column("published_thousandths", Number, nullable=False),
    Column("last_occurred_at", Number),
    Column("sequence", Number, nullable=False),
    Column("is_settled", Boolean(create_constraint=False), nullable=False),
    # Kept in the order of its key: an update of the running state touches one page instead of two.
    sqlite_with_rowid=False,
)

published_stock = Table(
    "published_stock",
    metadata,
    Column("sku", String, primary_key=True),
    Column("location_id", String, primary_key=True),
    Column("on_hand_thousandths", Number, nullable=False),
    Column("counted_at", Number),
    Column("last_occurred_at", Number, nullable=False),
    sqlite_with_rowid=False,
)

authorities = Table(
    "authorities",
    metadata,
    Column("source", String, primary_key=True),
    Column("door", String, key="channel", nullable=False),
    Column("recorded_at", Number, nullable=False),
)

stream_offsets = Table(
    "stream_offsets",
    metadata,
    Column("door", String, key="channel", primary_key=True),
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", Number, nullable=False),
    Column("recorded_at", Number, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Number, primary_key=True, autoincrement=False),
    Column("door", String, key="channel", nullable=False),
    Column("position", String, nullable=False),
    Column("original", LargeBinary, nullable=False),
    Column("original_sha256", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("corrected", LargeBinary),
    Column("state", String, nullable=False),
    Column("ingested_at", Number, nullable=False),
    Column("settled_at", Number),
)
Index(
    "ix_quarantine_delivery",
    quarantine.c.channel,
    quarantine.c.position,
    quarantine.c.original_sha256,
    unique=True,
)
Index("ix_quarantine_state", quarantine.c.state, quarantine.c.quarantine_id)

quarantine_steps = Table(
    "quarantine_steps",
    metadata,
    Column("quarantine_id", Number, ForeignKey("quarantine.quarantine_id"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("action", String, nullable=False),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("text", LargeBinary),
    Column("recorded_at", Number, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("name", String, primary_key=True),
    Column("fence", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("recorded_at", Number, nullable=False),
)

epochs = Table(
    "epochs",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("fence", Integer, nullable=False),
    Column("value", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("recorded_at", Number, nullable=False),
)

proposals = Table(
    "proposals",
    metadata,
    Column("proposal_id", String, primary_key=True),
    Column("as_of_date", String, nullable=False),
    Column("supplier_id", String, nullable=False),
    Column("sku", String, nullable=False),
    Column("location_id", String, nullable=False),
    Column("order_thousandths", Number, nullable=False),
    Column("unit_cost_ten_thousandths", Number),
    Column("order_by_date", String),
    Column("expires_date", String),
    Column("detail", String, nullable=False),
    Column("state", String, nullable=False),
    Column("erp_order", String),
    Column("has_order_line", Boolean(create_constraint=False), nullable=False),
    Column("version", Number, nullable=False),
    Column("proposed_at", Number, nullable=False),
    Column("changed_at", Number, nullable=False),
    Column("expected_date", String),
    Column("changed_by", String, nullable=False),
    Column("change_reason", String, nullable=False),
    Column("rejected_until_date", String),
    Column("rejected_until_thousandths", Number),
    Column("held_reason", String),
    Column("ended_date", String),
    # Of a transfer the location it leaves, of an order ''.
    Column("from_location_id", String, nullable=False),
    Column("order_id", String),
    Column("exported_at", Number),
    Column("withdrawn_at", Number),
    Column("acknowledged_thousandths", Number),
)
Index("ix_proposals_state", proposals.c.state, proposals.c.proposal_id)
Index("ix_proposals_item", proposals.c.sku, proposals.c.location_id)
# The database itself keeps an item from having two undecided orders, or transfers from one location, at once.
Index(
    "ix_proposals_undecided",
    proposals.c.sku,
    proposals.c.location_id,
    proposals.c.from_location_id,
    unique=True,
    sqlite_where=text("state = 'proposed'"),
    postgresql_where=text("state = 'proposed'"),
)

proposal_steps = Table(
    "proposal_steps",
    metadata,
    Column("proposal_id", String, ForeignKey("proposals.proposal_id"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("recorded_at", Number, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("sequence", Number, ForeignKey("events.sequence"), primary_key=True, autoincrement=False),
    Column("scope", String, nullable=False),
    Column("segment", String),
    Column("sku", String),
    Column("location_id", String),
    Column("setting", String, nullable=False),
    Column("value", String),
    Column("valid_from", String, nullable=False),
    Column("valid_to", String),
    Column("reason", String, nullable=False),
    Column("author", String, nullable=False),
)
