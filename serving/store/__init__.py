"""The online store: event log, live stock, quarantine, outbox, policies, offsets and epochs in one database.

Belongs here: everything that must be true in one transaction. Knows a URL, and no file, app, stream or run beside it.
"""

from serving.store.epochs import Epoch
from serving.store.errors import (
    Fenced,
    OffsetsLost,
    SourceTaken,
    StillRefused,
    StoreError,
    StoreNotEmpty,
    StoreOutdated,
    StoreUnavailable,
    UnknownRow,
    WrongState,
)
from serving.store.ledger import AppendReport, MovementBatch, Place, Refusal, VerifyReport
from serving.store.policies import EffectivePolicy, PolicyOverride
from serving.store.proposals import OpenOrders, Outbox, Proposal, ProposeReport
from serving.store.quarantine import QuarantinedRow
from serving.store.stock import LiveStock, fold
from serving.store.store import Store

__all__ = [
    "AppendReport",
    "EffectivePolicy",
    "Epoch",
    "Fenced",
    "LiveStock",
    "MovementBatch",
    "OffsetsLost",
    "OpenOrders",
    "Outbox",
    "Place",
    "PolicyOverride",
    "Proposal",
    "ProposeReport",
    "QuarantinedRow",
    "Refusal",
    "SourceTaken",
    "StillRefused",
    "Store",
    "StoreError",
    "StoreNotEmpty",
    "StoreOutdated",
    "StoreUnavailable",
    "UnknownRow",
    "VerifyReport",
    "WrongState",
    "fold",
]
