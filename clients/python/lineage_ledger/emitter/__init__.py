"""Puts predictions on record from a serving process: `Emitter`, `Binding`, and how they behave (`Policy`)."""

from lineage_ledger.emitter.binding import Binding
from lineage_ledger.emitter.columns import PredictionIds
from lineage_ledger.emitter.emitter import Emitter, LoggedStatement
from lineage_ledger.emitter.errors import (
    EmitterClosedError,
    EmitterError,
    EmitterFullError,
    NotAcknowledgedError,
    SpoolError,
    UnderPromisedError,
)
from lineage_ledger.emitter.policy import Policy, WaitFor, WhenFull
from lineage_ledger.emitter.reports import Statistics
from lineage_ledger.emitter.sender import Backoff

__all__ = [
    "Backoff",
    "Binding",
    "Emitter",
    "EmitterClosedError",
    "EmitterError",
    "EmitterFullError",
    "LoggedStatement",
    "NotAcknowledgedError",
    "Policy",
    "PredictionIds",
    "SpoolError",
    "Statistics",
    "UnderPromisedError",
    "WaitFor",
    "WhenFull",
]
