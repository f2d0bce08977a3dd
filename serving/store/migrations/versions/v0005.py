"""Fifth version: events have authors, publications are staged, and the store knows people, alerts and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
GENESIS = "0" * 64


def upgrade() -> None:
    """Add tables and columns; events of earlier versions have no author, and no stock has changed yet."""
    op.create_table(
        "accounts",
        sa.Column("account_id", String, nullable=False),
        sa.Column("name", String, nullable=False),
        sa.Column("role", String, nullable=False),
        sa.Column("sites", String, nullable=True),
        sa.Column("approval_limit_ten_thousandths", Number, nullable=True),
        sa.Column("state", String, nullable=False),
        sa.Column("created_by", String, nullable=False),
        sa.Column("created_at", Number, nullable=False),
        sa.Column("changed_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "alerts",
        sa.Column("alert_id", String, nullable=False),
        sa.Column("kind", String, nullable=False),
        sa.Column("sku", String, nullable=False),
        sa.Column("location_id", String, nullable=False),
        sa.Column("reference", String, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("money_ten_thousandths", Number, nullable=False),
        sa.Column("detail", String, nullable=False),
        sa.Column("owner", String, nullable=True),
        sa.Column("acknowledged_by", String, nullable=True),
        sa.Column("opened_at", Number, nullable=False),
        sa.Column("changed_at", Number, nullable=False),
        sa.Column("cleared_at", Number, nullable=True),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_identity", "alerts", ["kind", "sku", "location_id", "reference"], unique=True)
    op.create_index("ix_alerts_state", "alerts", ["state", "location_id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("key_id", String, nullable=False),
        sa.Column("secret_sha256", String, nullable=False),
        sa.Column("name", String, nullable=False),
        sa.Column("role", String, nullable=False),
        sa.Column("sites", String, nullable=True),
        sa.Column("created_by", String, nullable=False),
        sa.Column("created_at", Number, nullable=False),
        sa.Column("expires_at", Number, nullable=False),
        sa.Column("used_at", Number, nullable=True),
        sa.Column("revoked_at", Number, nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "audit",
        sa.Column("audit_id", Number, autoincrement=False, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("credential", String, nullable=True),
        sa.Column("address", String, nullable=True),
        sa.Column("action", String, nullable=False),
        sa.Column("object", String, nullable=False),
        sa.Column("outcome", String, nullable=False),
        sa.Column("request_id", String, nullable=True),
        sa.Column("previous_hash", String, nullable=False),
        sa.Column("chain_hash", String, nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit")),
    )
    op.create_table(
        "idempotency",
        sa.Column("caller", String, nullable=False),
        sa.Column("idempotency_key", String, nullable=False),
        sa.Column("body_sha256", String, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", Number, nullable=False),
        sa.PrimaryKeyConstraint("caller", "idempotency_key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_recorded_at", "idempotency", ["recorded_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("job_id", String, nullable=False),
        sa.Column("kind", String, nullable=False),
        sa.Column("request", String, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("created_at", Number, nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker", String, nullable=True),
        sa.Column("taken_at", Number, nullable=True),
        sa.Column("finished_at", Number, nullable=True),
        sa.Column("answer", String, nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "created_at"], unique=False)
    op.create_table(
        "staged_proposals",
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
        sa.Column("expected_date", String, nullable=True),
        sa.Column("changed_by", String, nullable=False),
        sa.Column("change_reason", String, nullable=False),
        sa.Column("rejected_until_date", String, nullable=True),
        sa.Column("rejected_until_thousandths", Number, nullable=True),
        sa.Column("held_reason", String, nullable=True),
        sa.Column("ended_date", String, nullable=True),
        sa.Column("from_location_id", String, nullable=False),
        sa.Column("order_id", String, nullable=True),
        sa.Column("exported_at", Number, nullable=True),
        sa.Column("withdrawn_at", Number, nullable=True),
        sa.Column("acknowledged_thousandths", Number, nullable=True),
        sa.Column("adjusted_thousandths", Number, nullable=True),
        sa.Column("adjusted_by", String, nullable=True),
        sa.Column("publication", Number, nullable=False),
        sa.Column("position", Number, nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_staged_proposals")),
    )
    op.create_index("ix_staged_proposals_position", "staged_proposals", ["position"], unique=True)
    op.create_table(
        "staged_steps",
        sa.Column("proposal_id", String, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.Column("publication", Number, nullable=False),
        sa.PrimaryKeyConstraint("proposal_id", "step", name=op.f("pk_staged_steps")),
    )
    op.create_table(
        "alert_steps",
        sa.Column("alert_id", String, nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", String, nullable=False),
        sa.Column("author", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("recorded_at", Number, nullable=False),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.alert_id"], name=op.f("fk_alert_steps_alert_id")),
        sa.PrimaryKeyConstraint("alert_id", "step", name=op.f("pk_alert_steps")),
    )
    op.create_table(
        "credentials",
        sa.Column("credential_id", String, nullable=False),
        sa.Column("account_id", String, nullable=False),
        sa.Column("kind", String, nullable=False),
        sa.Column("verifier", String, nullable=False),
        sa.Column("detail", String, nullable=False),
        sa.Column("created_at", Number, nullable=False),
        sa.Column("expires_at", Number, nullable=True),
        sa.Column("used_at", Number, nullable=True),
        sa.Column("revoked_at", Number, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_credentials_account_id")),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_credentials")),
    )
    op.create_index("ix_credentials_account", "credentials", ["account_id", "kind"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("session_id", String, nullable=False),
        sa.Column("token_sha256", String, nullable=False),
        sa.Column("account_id", String, nullable=False),
        sa.Column("device", String, nullable=False),
        sa.Column("created_at", Number, nullable=False),
        sa.Column("used_at", Number, nullable=False),
        sa.Column("expires_at", Number, nullable=False),
        sa.Column("revoked_at", Number, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_sessions_account_id")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sessions_token_sha256")),
    )
    op.create_index("ix_sessions_account", "sessions", ["account_id"], unique=False)
    op.create_table(
        "snoozes",
        sa.Column("sequence", Number, autoincrement=False, nullable=False),
        sa.Column("subject", String, nullable=False),
        sa.Column("subject_id", String, nullable=False),
        sa.Column("until_date", String, nullable=True),
        sa.Column("until_money_ten_thousandths", Number, nullable=True),
        sa.Column("author", String, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.ForeignKeyConstraint(["sequence"], ["events.sequence"], name=op.f("fk_snoozes_sequence")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_snoozes")),
    )
    op.create_index("ix_snoozes_subject", "snoozes", ["subject", "subject_id"], unique=False)
    op.add_column("events", sa.Column("author", String, nullable=True))
    op.add_column("events", sa.Column("device", String, nullable=True))
    op.add_column("ledger_head", sa.Column("publication", Number, nullable=False, server_default="0"))
    op.add_column("ledger_head", sa.Column("outbox_write", Number, nullable=False, server_default="0"))
    op.add_column("ledger_head", sa.Column("stock_version", Number, nullable=False, server_default="0"))
    op.add_column("ledger_head", sa.Column("audit_id", Number, nullable=False, server_default="0"))
    op.add_column("ledger_head", sa.Column("audit_hash", String, nullable=False, server_default=GENESIS))
    op.add_column("live_stock", sa.Column("version", Number, nullable=False, server_default="0"))
    op.create_index("ix_live_stock_version", "live_stock", ["version"], unique=False)
    op.add_column("proposals", sa.Column("adjusted_thousandths", Number, nullable=True))
    op.add_column("proposals", sa.Column("adjusted_by", String, nullable=True))
    op.create_index("ix_proposals_location", "proposals", ["location_id", "state", "proposal_id"], unique=False)
    op.create_index("ix_proposals_supplier", "proposals", ["supplier_id", "state", "proposal_id"], unique=False)
