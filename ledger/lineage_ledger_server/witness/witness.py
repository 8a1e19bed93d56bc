"""What a witness answers. To add-checkpoint it checks, puts on record, and only then signs.

A crash after the record was synced and before the answer is harmless: the log asks again and learns by a 409 where the
witness stands. So there are never two cosignatures over trees that are not of one history.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog

from lineage_ledger.errors import LineageError, MalformedError, ProofError, SettingsError, SignatureError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from lineage_ledger.formats.note import Cosigner, Note, SignatureType, Verifier, open_note
from lineage_ledger.formats.text import decode_base64
from lineage_ledger.formats.witness_protocol import SIZE_TYPE, AddCheckpoint, encode_size
from lineage_ledger_server.store.witness_store import WitnessedTree, WitnessStore

_log = structlog.get_logger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT


class _RefusedError(LineageError):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _ConflictError(LineageError):
    """The log thinks that the witness stands elsewhere than at `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness stands at {size}")
        self.size = size


def _now_unix_s() -> int:
    return int(time.time())


class Witness:
    """Cosigns for the logs whose keys are `logs`; any thread may ask. Raises `SettingsError` for unusable keys."""

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Iterable[Verifier],
        store: WitnessStore,
        now_unix_s: Callable[[], int] = _now_unix_s,
    ) -> None:
        self._cosigner = cosigner
        self._store = store
        self._now_unix_s = now_unix_s
        self._keys: dict[str, list[Verifier]] = {}
        for log in logs:
            if log.type is not SignatureType.ED25519:
                raise SettingsError(f"the key of {log.name} is not one that logs sign with (type 1, Ed25519)")
            known = self._keys.setdefault(log.name, [])
            if log not in known:
                known.append(log)
        if not self._keys:
            raise SettingsError("a witness needs the verifier key of one log at least (--log, --logs)")
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in self._keys}

    @property
    def origins(self) -> tuple[str, ...]:
        """The logs that it cosigns for."""
        return tuple(self._keys)

    @property
    def verifier(self) -> Verifier:
        """The witness' key."""
        return self._cosigner.verifier

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer the body of a request. Raises `StoreError` or `CorruptValueError`; nothing was signed then."""
        try:
            request = AddCheckpoint.parse(body)
            checkpoint = self._signed_checkpoint(request)
            tree = self._store.advance(checkpoint.origin, lambda newest: self._decide(request, checkpoint, newest))
        except MalformedError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
        except _ConflictError as conflict:
            return Answer(HTTPStatus.CONFLICT, encode_size(conflict.size), SIZE_TYPE)
        except _RefusedError as refusal:
            return Answer(refusal.status, f"{refusal}\n".encode())
        return Answer(HTTPStatus.OK, self._cosigner.cosign(checkpoint.encode(), tree.time_unix_s).encode().encode())

    def newest_checkpoint(self, origin_hash: str) -> Answer:
        """The newest checkpoint that was cosigned of the log whose origin has this SHA-256, in lower-case hex.

        Cosigned for the time it was cosigned at, and so with the very cosignature that the log got. Raises
        `StoreError` or `CorruptValueError`.
        """
        origin = self._origins.get(origin_hash)
        tree = None if origin is None else self._store.newest(origin)
        if origin is None or tree is None:
            return Answer(HTTPStatus.NOT_FOUND, b"this witness cosigned nothing of a log with that origin\n")
        try:
            note = open_note(tree.note, self._keys[origin])
        except SignatureError:  # its key was taken from those that are known
            return Answer(HTTPStatus.NOT_FOUND, b"this witness no longer knows the key that signed the newest one\n")
        cosignature = self._cosigner.cosign(note.text, tree.time_unix_s)
        return Answer(HTTPStatus.OK, Note(note.text, (*note.signatures, cosignature)).encode())

    def _signed_checkpoint(self, request: AddCheckpoint) -> Checkpoint:
        """The request's checkpoint, signed by a key of its log."""
        text = Note.parse(request.checkpoint).text
        origin = text.partition("\n")[0]
        keys = self._keys.get(origin)
        if keys is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "this witness does not know a log of that origin")
        try:
            open_note(request.checkpoint, keys)
        except SignatureError as error:
            raise _RefusedError(HTTPStatus.FORBIDDEN, str(error)) from error
        if _is_false_empty_tree(text):
            raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "size 0 goes with the root of the empty tree alone")
        checkpoint = Checkpoint.parse(text)
        if request.old_size > checkpoint.size:
            raise MalformedError(f"the old size, {request.old_size}, is above the checkpoint's, {checkpoint.size}")
        return checkpoint

    def _decide(self, request: AddCheckpoint, checkpoint: Checkpoint, newest: WitnessedTree | None) -> WitnessedTree:
        """The tree to put on record and cosign, if it is `newest` or goes on from it."""
        old_size = 0 if newest is None else newest.checkpoint.size
        if request.old_size != old_size:
            raise _ConflictError(old_size)
        # Time may not go back: the newest cosignature is to be that of the largest tree.
        now = max(self._now_unix_s(), 1 if newest is None else newest.time_unix_s)
        if old_size == 0 or newest is None:
            if request.proof:
                raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "from size 0 there is no proof, but one was sent")
            return WitnessedTree(checkpoint, now, request.checkpoint)
        if checkpoint.size == old_size and checkpoint.root != newest.checkpoint.root:
            _log.error(
                "a log signed two trees of one size",
                origin=checkpoint.origin,
                cosigned=newest.note.decode(),
                refused=request.checkpoint.decode(),
            )
        try:
            verify_consistency(old_size, newest.checkpoint.root, checkpoint.size, checkpoint.root, request.proof)
        except ProofError as error:
            raise _RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        note = newest.note if checkpoint.size == old_size else request.checkpoint
        return WitnessedTree(checkpoint, now, note)


def _is_false_empty_tree(text: str) -> bool:
    """A checkpoint that is well-formed, of size 0, and has the root of some other tree."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[1] != "0":
        return False
    root = decode_base64(lines[2])
    return len(root) == HASH_SIZE and root != EMPTY_ROOT
