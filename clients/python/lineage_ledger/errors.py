"""Every exception that this package raises on purpose; `LineageError` is the root of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LineageError(Exception):
    """Something that Lineage Ledger refuses or cannot do; its text says what, to what, and what to do about it."""


class MalformedError(LineageError, ValueError):
    """Bytes that are not the one accepted encoding of what they claim to be."""


class MalformedBatchError(MalformedError):
    """Packed bytes that do not split into entries.

    `offset` is the byte in the packed batch where it went wrong.
    """

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class MalformedEntryError(MalformedError):
    """An entry that is not strictly encoded.

    `place` is its place in its batch, from 0 (0 for an entry by itself); `offset` the byte in the entry.
    """

    def __init__(self, message: str, *, place: int = 0, offset: int = 0) -> None:
        super().__init__(message)
        self.place = place
        self.offset = offset


class VerificationError(LineageError):
    """Well-formed bytes that do not prove what they should."""


class ProofError(VerificationError):
    """A Merkle proof that does not lead to the expected root."""


class SignatureError(VerificationError):
    """A signature that is missing, or was not made by the expected key over these bytes."""


class OtherKeyError(SignatureError):
    """A checkpoint that is signed by another key of the ledger's name than the one expected at its `size`.

    The ledger's key may have been changed: whoever can ask for the changes follows them, and tries again.
    """

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class QuorumError(VerificationError):
    """A checkpoint without the cosignatures that a witness policy asks for."""


class SealError(VerificationError):
    """A seal that contradicts itself, its batch or its chain.

    `reason` is a name of `ErrorReason` (errors.proto) without its prefix.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidKeyError(LineageError, ValueError):
    """A key, or a key file, that cannot be used."""


class SmallOrderKeyError(InvalidKeyError):
    """An Ed25519 public key of small order, for which anybody can make signatures."""


class SettingsError(LineageError, ValueError):
    """A setting that is missing, contradictory or out of bounds."""


class CorruptError(LineageError):
    """Stored bytes that do not hash to what the tree says; nothing was served from them."""


class RpcError(LineageError):
    """The server refused a call, or could not be reached.

    `status` is the gRPC status code's name, `reason` a name of `ErrorReason` without its prefix (empty if the server
    gave none), `metadata` the facts that came with it.
    """

    def __init__(self, message: str, *, status: str, reason: str = "", metadata: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.metadata = metadata or {}


class HistoryError(VerificationError):
    """What a ledger signed contradicts what it signed before, or what was asked of it.

    `evidence` holds the signed notes it is about, the older first; `proof` the consistency proof that failed, 32 bytes
    each. `folder` is where a checkpoint file kept them, None if they are here only.
    """

    def __init__(self, message: str, *, evidence: tuple[bytes, ...], proof: tuple[bytes, ...] = ()) -> None:
        super().__init__(message)
        self.evidence = evidence
        self.proof = proof
        self.folder: Path | None = None

    def __str__(self) -> str:
        kept = f". The evidence is in {self.folder}" if self.folder is not None else ""
        return super().__str__() + kept


class ForkError(HistoryError):
    """The ledger signed two trees that are not of one history, or of which it does not prove that they are.

    `is_shown` is False for the latter: asked again, it may.
    """

    def __init__(
        self, message: str, *, evidence: tuple[bytes, ...], proof: tuple[bytes, ...] = (), is_shown: bool = True
    ) -> None:
        super().__init__(message, evidence=evidence, proof=proof)
        self.is_shown = is_shown


class RollbackError(HistoryError):
    """The ledger answered with a smaller tree than it had signed before the question."""


class StaleError(HistoryError):
    """The newest block is older than it may be, or from a time that is still to come."""


class OtherOriginError(HistoryError):
    """The checkpoint of another ledger than the one that is pinned."""


class CheckpointFileError(LineageError):
    """A file of remembered checkpoints that cannot be read, written or believed."""
