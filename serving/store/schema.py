"""Tables of the online store. Shapes and indexes only; what the rows mean to whom is in the modules beside it.

Conventions: an instant is an integer, microseconds since 1970-01-01 UTC (`_at`); a local calendar date is ISO text
(`_date`); a quantity is an integer number of thousandths of a unit; money is an integer number of ten-thousandths.
Text compares by code point in every database, because the order of a fold must not depend on a locale.
"""

from typing import Any

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

VERSION = "0005"

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
    # The publication whose proposals are in force; what is staged for a later one is not seen yet (staging.py).
    Column("publication", Number, nullable=False),
    # Advances with every transaction that may change proposals, so that a publication sees whether one came between.
    Column("outbox_write", Number, nullable=False),
    # Advances with every change of live stock, also by a publication, which adds no event.
    Column("stock_version", Number, nullable=False),
    Column("audit_id", Number, nullable=False),
    Column("audit_hash", String, nullable=False),
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
    Column("author", String),
    Column("device", String),
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
    # `stock_version` of the head at the last change.
    Column("version", Number, nullable=False),
    # Kept in the order of its key: an update of the running state touches one page instead of two.
    sqlite_with_rowid=False,
)

Index("ix_live_stock_version", live_stock.c.version)

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


def _proposal_columns() -> tuple[Column[Any], ...]:
    return (
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
        # What an approval orders in place of `order_thousandths`, and who said so.
        Column("adjusted_thousandths", Number),
        Column("adjusted_by", String),
    )


def _step_columns() -> tuple[Column[Any], ...]:
    return (
        Column("state", String, nullable=False),
        Column("author", String, nullable=False),
        Column("reason", String, nullable=False),
        Column("recorded_at", Number, nullable=False),
    )


proposals = Table("proposals", metadata, Column("proposal_id", String, primary_key=True), *_proposal_columns())
Index("ix_proposals_state", proposals.c.state, proposals.c.proposal_id)
Index("ix_proposals_item", proposals.c.sku, proposals.c.location_id)
Index("ix_proposals_supplier", proposals.c.supplier_id, proposals.c.state, proposals.c.proposal_id)
Index("ix_proposals_location", proposals.c.location_id, proposals.c.state, proposals.c.proposal_id)
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
    *_step_columns(),
)

# Rows of `proposals` and `proposal_steps` as a publication makes them; see staging.py.
staged_proposals = Table(
    "staged_proposals",
    metadata,
    Column("proposal_id", String, primary_key=True),
    *_proposal_columns(),
    Column("publication", Number, nullable=False),
    # Order in which they are folded into the outbox.
    Column("position", Number, nullable=False),
)
Index("ix_staged_proposals_position", staged_proposals.c.position, unique=True)

staged_steps = Table(
    "staged_steps",
    metadata,
    Column("proposal_id", String, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    *_step_columns(),
    Column("publication", Number, nullable=False),
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

# People, programs and what they did.

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    # JSON list of location_id; NULL = every location.
    Column("sites", String),
    # Value of orders up to which it may approve alone; NULL = any.
    Column("approval_limit_ten_thousandths", Number),
    Column("state", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("changed_at", Number, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("credential_id", String, primary_key=True),
    Column("account_id", String, ForeignKey("accounts.account_id"), nullable=False),
    Column("kind", String, nullable=False),
    # Hash of a password or of an invitation, public key of a passkey, subject of an identity provider.
    Column("verifier", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("expires_at", Number),
    Column("used_at", Number),
    Column("revoked_at", Number),
)
Index("ix_credentials_account", credentials.c.account_id, credentials.c.kind)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String, primary_key=True),
    Column("token_sha256", String, nullable=False, unique=True),
    Column("account_id", String, ForeignKey("accounts.account_id"), nullable=False),
    Column("device", String, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("used_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("revoked_at", Number),
)
Index("ix_sessions_account", sessions.c.account_id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("secret_sha256", String, nullable=False),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("sites", String),
    Column("created_by", String, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("used_at", Number),
    Column("revoked_at", Number),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_id", Number, primary_key=True, autoincrement=False),
    Column("recorded_at", Number, nullable=False),
    Column("author", String, nullable=False),
    # Session or key it was done with.
    Column("credential", String),
    Column("address", String),
    Column("action", String, nullable=False),
    Column("object", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("request_id", String),
    Column("previous_hash", String, nullable=False),
    Column("chain_hash", String, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", String, primary_key=True),
    Column("idempotency_key", String, primary_key=True),
    Column("body_sha256", String, nullable=False),
    # NULL while the request is at work.
    Column("status", Integer),
    Column("answer", LargeBinary),
    Column("recorded_at", Number, nullable=False),
)
Index("ix_idempotency_recorded_at", idempotency.c.recorded_at)

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    # What it is of; '' where it is not of an item or a location.
    Column("sku", String, nullable=False),
    Column("location_id", String, nullable=False),
    # Purchase order line, lot or supplier it is of, else ''.
    Column("reference", String, nullable=False),
    Column("state", String, nullable=False),
    Column("money_ten_thousandths", Number, nullable=False),
    Column("detail", String, nullable=False),
    Column("owner", String),
    Column("acknowledged_by", String),
    Column("opened_at", Number, nullable=False),
    Column("changed_at", Number, nullable=False),
    Column("cleared_at", Number),
)
Index("ix_alerts_identity", alerts.c.kind, alerts.c.sku, alerts.c.location_id, alerts.c.reference, unique=True)
Index("ix_alerts_state", alerts.c.state, alerts.c.location_id)

alert_steps = Table(
    "alert_steps",
    metadata,
    Column("alert_id", String, ForeignKey("alerts.alert_id"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("action", String, nullable=False),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("recorded_at", Number, nullable=False),
)

snoozes = Table(
    "snoozes",
    metadata,
    Column("sequence", Number, ForeignKey("events.sequence"), primary_key=True, autoincrement=False),
    # `alert` or `proposal`, and its id.
    Column("subject", String, nullable=False),
    Column("subject_id", String, nullable=False),
    Column("until_date", String),
    Column("until_money_ten_thousandths", Number),
    Column("author", String, nullable=False),
    Column("reason", String, nullable=False),
)
Index("ix_snoozes_subject", snoozes.c.subject, snoozes.c.subject_id)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("request", String, nullable=False),
    Column("state", String, nullable=False),
    Column("author", String, nullable=False),
    Column("created_at", Number, nullable=False),
    # Advances whenever a worker takes the job, so that one that was given up cannot finish it.
    Column("fence", Integer, nullable=False),
    Column("worker", String),
    Column("taken_at", Number),
    Column("finished_at", Number),
    Column("answer", String),
)
Index("ix_jobs_state", jobs.c.state, jobs.c.created_at)
