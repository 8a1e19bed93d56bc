"""What an emitter can fail with. Only what was asked to may raise into a prediction (`Policy`)."""

from __future__ import annotations

from lineage_ledger.errors import LineageError


class EmitterError(LineageError):
    """An emitter could not do what it was asked to."""


class EmitterFullError(EmitterError):
    """As much waits for its acknowledgement as may; the entry's number was declared lost."""


class EmitterClosedError(EmitterError):
    """The emitter was closed before."""


class NotAcknowledgedError(EmitterError):
    """Time ran out, or the chain ended, before the ledger acknowledged the entry.

    After a time-out it may still become part of the ledger.
    """


class UnderPromisedError(EmitterError):
    """The ledger acknowledged a batch with less than `wait_for`; the batch is kept, and sent again later."""


class SpoolError(EmitterError):
    """The spool cannot be used, is full, or is damaged."""
