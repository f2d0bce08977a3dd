"""The online store: event log, live stock, quarantine, outbox, policies, offsets and epochs in one database.

Belongs here: everything that must be true in one transaction. Knows a URL, and no file, app, stream or run beside it.
"""

from serving.store.chain import VerifyReport
from serving.store.decisions import Decision, Outcome
from serving.store.epochs import Epoch
from serving.store.errors import (
    Fenced,
    OffsetsLost,
    SourceTaken,
    StillRefused,
    StoreBehind,
    StoreError,
    StoreNotEmpty,
    StoreOutdated,
    StoreUnavailable,
    Unconfirmed,
    UnknownRow,
    WrongState,
)
from serving.store.group_writer import GroupWriter
from serving.store.handing_out import Acknowledgement
from serving.store.ledger import Place, Refusal
from serving.store.log import MovementBatch
from serving.store.outcomes import AppendReport, EventOutcome
from serving.store.policies import EffectivePolicy, PolicyOverride
from serving.store.proposals import Proposal
from serving.store.proposing import Announcement, OpenOrders, Outbox, ProposeReport, why_ended
from serving.store.quarantine import QuarantinedRow
from serving.store.recovery import Published, Recovered
from serving.store.stock import LiveStock, fold
from serving.store.store import Store
from serving.store.transferring import Shipment
from serving.store.units import units_text

__all__ = [
    "Acknowledgement",
    "Announcement",
    "AppendReport",
    "Decision",
    "EffectivePolicy",
    "Epoch",
    "EventOutcome",
    "Fenced",
    "GroupWriter",
    "LiveStock",
    "MovementBatch",
    "OffsetsLost",
    "OpenOrders",
    "Outbox",
    "Outcome",
    "Place",
    "PolicyOverride",
    "Proposal",
    "ProposeReport",
    "Published",
    "QuarantinedRow",
    "Recovered",
    "Refusal",
    "Shipment",
    "SourceTaken",
    "StillRefused",
    "Store",
    "StoreBehind",
    "StoreError",
    "StoreNotEmpty",
    "StoreOutdated",
    "StoreUnavailable",
    "Unconfirmed",
    "UnknownRow",
    "VerifyReport",
    "WrongState",
    "fold",
    "units_text",
    "why_ended",
]
