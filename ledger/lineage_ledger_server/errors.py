"""Exceptions of the server; each names the `ErrorReason` (errors.proto, without its prefix) that a caller is told."""

from __future__ import annotations

from typing import ClassVar

from lineage_ledger.errors import LineageError


class ServerError(LineageError):
    """Root of what the server refuses or cannot do; `reason` is what clients branch on."""

    reason: ClassVar[str] = "UNSPECIFIED"


class StoreError(ServerError):
    """The storage failed or cannot be used; nothing was changed, and what was committed before is still readable."""

    reason = "READ_ONLY"


class DiskFullError(StoreError):
    """No space for a commit, on the disk or in LMDB's map; nothing was changed. Try again when there is space."""

    reason = "DISK_FULL"


class LockedError(StoreError):
    """Another process serves this data directory."""


class HeadMismatchError(StoreError):
    """The log is not one that the head record's checkpoint can be followed by; nothing may be signed over it."""


class NotFoundError(ServerError):
    """Nothing on record under that name, key or id, up to the published head."""

    reason = "NOT_FOUND"


class PredictionLostError(NotFoundError):
    """The number was given out, and a seal declares it lost; `seal_index` is that seal's."""

    reason = "PREDICTION_LOST"

    def __init__(self, message: str, *, seal_index: int) -> None:
        super().__init__(message)
        self.seal_index = seal_index


class IndexOutOfRangeError(ServerError):
    """An index or a size beyond the published head, whose size is `size`."""

    reason = "INDEX_OUT_OF_RANGE"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size
