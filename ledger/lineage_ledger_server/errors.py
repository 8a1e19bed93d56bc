"""Exceptions of the server; each names the `ErrorReason` (errors.proto, without its prefix) that a caller is told."""

from __future__ import annotations

from typing import ClassVar

from lineage_ledger.errors import CorruptError, LineageError


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


class NotWitnessedError(ServerError):
    """No checkpoint over it has the cosignatures of the witness policy yet. Try again later."""

    reason = "NOT_WITNESSED"


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
        self.metadata = {"size": str(size)}


class ProcessStartError(ServerError):
    """A process that serves beside this one cannot be started."""


class ExportError(ServerError):
    """A folder that a log cannot be exported to: it holds another log, another history of it, or other things."""


class CorruptValueError(CorruptError):
    """A stored value that is not what the tree, or the entry it speaks of, says; it was not served.

    Name the `index` of the entry, or the tile as (`level`, number).
    """

    reason = "CORRUPT"

    def __init__(self, message: str, *, index: int | None = None, tile: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.tile = tile
        self.metadata: dict[str, str] = {}
        if index is not None:
            self.metadata["index"] = str(index)
        if tile is not None:
            self.metadata["tile"] = f"{tile[0]}/{tile[1]}"


class RefusedError(ServerError):
    """A request that is refused for the reason given at its raising; `metadata` are facts for the caller to act on."""

    def __init__(self, message: str, *, reason: str, **metadata: int | str) -> None:
        super().__init__(message)
        self.reason = reason  # type: ignore[misc]  # one class for many reasons: an instance's, not the class's
        self.metadata = {name: str(value) for name, value in metadata.items()}


class LimitError(RefusedError):
    """More than a limit allows; `limit` is its name, `value` what it allows."""

    def __init__(self, message: str, *, limit: str, value: int) -> None:
        super().__init__(message, reason="LIMIT_EXCEEDED", limit=limit, value=value)


class SequenceError(RefusedError):
    """A batch that does not go on where its chain stands."""

    def __init__(self, message: str, *, reason: str = "SEQUENCE_GAP", **metadata: int) -> None:
        super().__init__(message, reason=reason, **metadata)


class AdminError(RefusedError):
    """An admin's change that may not happen."""


class NotWritableError(RefusedError):
    """The ledger takes nothing at the moment: it stops, its disk is full, or its clock leapt."""
