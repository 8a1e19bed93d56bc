"""What a client asks to know which tree a ledger has: checkpoints, and proofs that join them and hold leaves to them.

Each question is a generator: it yields calls and is sent their responses, so the synchronous client and the one for
asyncio run the same code.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import Message

from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.errors import OtherKeyError, ProofError, RpcError, VerificationError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.ledger_keys import LedgerKeys, follow_proven
from lineage_ledger.formats.note import Verifier
from lineage_ledger.history import History, SignedCheckpoint, block_time
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.methods import Method
from lineage_ledger.rpc.status import REFUSALS
from lineage_ledger.v1 import entries_pb2, proofs_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from lineage_ledger.rpc.connection import Connection

T = TypeVar("T")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Call(NamedTuple):
    """One call to be made."""

    method: Method[Any, Any]
    request: Message


Steps: TypeAlias = Generator[Call, Any, T]


def ask(method: Method[Request, Response], request: Request) -> Steps[Response]:
    """Make one call and return its response."""
    response: Response = yield Call(method, request)
    return response


def run(connection: Connection, steps: Steps[T]) -> T:
    """Take the steps, making the calls over `connection`."""
    go_on = partial(steps.send, None)
    while True:
        try:
            call = go_on()
        except StopIteration as done:
            result: T = done.value
            return result
        try:
            go_on = partial(steps.send, connection.call(call.method, call.request))
        except RpcError as error:  # What a refusal means is for whoever asked to say.
            go_on = partial(steps.throw, error)


def join(history: History) -> Steps[None]:
    """Have the server prove what is `unlinked` in a history. Raises `ForkError`."""
    while (pair := history.unlinked) is not None:
        history.link(pair, (yield from _proof(history, *pair)))


def _proof(history: History, older: SignedCheckpoint | None, newer: SignedCheckpoint) -> Steps[tuple[bytes, ...]]:
    """The proof that `newer` goes on from `older`, not checked yet. Raises `ForkError` if the server has none."""
    if older is None or not 0 < older.size < newer.size:
        return ()
    request = proofs_pb2.GetConsistencyProofRequest(old_size=older.size, new_size=newer.size)
    try:
        response = yield from ask(methods.GET_CONSISTENCY_PROOF, request)
    except RpcError as error:
        if error.status in REFUSALS:
            raise history.unproven(older, newer, str(error)) from error
        raise
    return tuple(response.hashes)


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Proven: the leaf with this hash is at `index` under `checkpoint`."""

    index: int
    leaf_hash: bytes
    hashes: tuple[bytes, ...]
    """From leaf to root."""
    checkpoint: Checkpoint


class _KnownBlock(NamedTuple):
    """The last entry of a tree of `size` entries, which was proven to be a block of that time."""

    size: int
    time_unix_ns: int


class Agreement:
    """Asks one ledger for checkpoints and proofs; remembers the newest, which every other one must agree with.

    With `checkpoint_file` that lasts beyond this process, and holds for others with the same file. With
    `max_block_age_s` an answer must be from a tree whose newest block is no older. Raises what `History` does.
    """

    def __init__(
        self, verifier: Verifier, *, checkpoint_file: Path | str | None = None, max_block_age_s: float | None = None
    ) -> None:
        self.verifier = verifier
        self.history = History(verifier, CheckpointFile(checkpoint_file) if checkpoint_file is not None else None)
        self._max_block_age_s = max_block_age_s
        self._newest_block = _KnownBlock(0, 0)

    def checkpoint(self) -> Steps[Checkpoint]:
        return (yield from self.signed_checkpoint())[0]

    def signed_checkpoint(self, *, witnessed: bool = False) -> Steps[tuple[Checkpoint, bytes]]:
        known = yield from self._newest()
        response = yield from ask(methods.GET_CHECKPOINT, proofs_pb2.GetCheckpointRequest(witnessed=witnessed))
        return (yield from self._agreed(response.checkpoint, known, may_be_older=witnessed)), response.checkpoint

    def opened(self, signed: bytes) -> Steps[Checkpoint]:
        """A checkpoint that was kept, if the ledger's key of its size signed it; nothing is said of its history."""
        return (yield from self._opened(signed)).checkpoint

    def compare(self, signed: bytes) -> Steps[tuple[Checkpoint, Checkpoint]]:
        """The checkpoint that somebody else saw, and the newest one here, once both are proven to be of one history."""
        other = yield from self._opened(signed)
        _, note = yield from self.signed_checkpoint()
        newest = self.history.open(note)
        older, newer = sorted((newest, other), key=lambda each: each.size)
        self.history.check(older, newer, (yield from _proof(self.history, older, newer)))
        return other.checkpoint, newest.checkpoint

    def _agreed(
        self, signed: bytes, known: SignedCheckpoint | None, *, may_be_older: bool = False
    ) -> Steps[Checkpoint]:
        """A checkpoint signed by the pinned key, and of one history with `known`, the newest when it was asked for.

        One that had to wait for witnesses may be older than that.
        """
        opened = yield from self._opened(signed)
        if may_be_older and known is not None and opened.size < known.size:
            known = None
        self.history.accept(signed, known, (yield from _proof(self.history, known, opened)))
        yield from join(self.history)
        if self._max_block_age_s is not None:
            yield from self._young(opened, self._max_block_age_s)
        return opened.checkpoint

    def _newest(self) -> Steps[SignedCheckpoint | None]:
        """The newest checkpoint that is remembered; one may be by another key than the pinned one, from another run."""
        try:
            return self.history.newest
        except OtherKeyError:
            yield from self._follow_keys()
            return self.history.newest

    def _opened(self, signed: bytes) -> Steps[SignedCheckpoint]:
        """A checkpoint that is signed by the ledger's key of its size, as far as the pinned key leads to that."""
        try:
            return self.history.open(signed)
        except OtherKeyError:
            yield from self._follow_keys()
            return self.history.open(signed)

    def _follow_keys(self) -> Steps[None]:
        """Learn from the server how the ledger's key was changed; all that it says is signed and proven.

        A key that is known stays known: a server that leaves a change out is refused.
        """
        request = proofs_pb2.GetCheckpointRequest(with_key_history=True)
        response = yield from ask(methods.GET_CHECKPOINT, request)
        keys, _ = follow_proven(self.verifier, response.key_history, response.checkpoint)
        known = self.history.keys
        if isinstance(known, LedgerKeys) and not keys.extends(known):
            raise VerificationError(
                f"the server shows other changes of the key of {keys.name} than it did before, or fewer; it was put "
                "back from an old copy, or shows different histories"
            )
        self.history.keys = keys

    def _young(self, opened: SignedCheckpoint, max_age_s: float) -> Steps[None]:
        """That the tree's last entry, a block, is no older. Raises `StaleError`."""
        known, now_unix_ns = self._newest_block, time.time_ns()
        if known.size <= opened.size and abs(now_unix_ns - known.time_unix_ns) <= max_age_s * 1e9:
            return  # Times of blocks never go back, so this one's is not before the known one's.
        index = opened.size - 1
        response = yield from ask(methods.GET_ENTRY, entries_pb2.GetEntryRequest(index=index))
        proof = yield from self.inclusion_proof(index, opened.checkpoint)
        if merkle.leaf_hash(response.entry) != proof.leaf_hash:
            raise ProofError(f"the server gave bytes for index {index} that are not what its tree holds there")
        time_unix_ns = block_time(response.entry)
        self.history.check_age(opened, time_unix_ns, time.time_ns(), max_age_s)
        self._newest_block = _KnownBlock(opened.size, time_unix_ns)

    def _consistent(self, older: Checkpoint, newer: Checkpoint) -> Steps[tuple[bytes, ...]]:
        if older.size == newer.size:
            hashes: tuple[bytes, ...] = ()
        else:
            request = proofs_pb2.GetConsistencyProofRequest(old_size=older.size, new_size=newer.size)
            response = yield from ask(methods.GET_CONSISTENCY_PROOF, request)
            hashes = tuple(response.hashes)
        merkle.verify_consistency(older.size, older.root, newer.size, newer.root, hashes)
        return hashes

    def consistency_proof(self, older: Checkpoint, newer: Checkpoint | None) -> Steps[tuple[bytes, ...]]:
        return (yield from self._consistent(older, newer or (yield from self.checkpoint())))

    def inclusion_proof(self, index: int, under: Checkpoint | None = None) -> Steps[InclusionProof]:
        """Under the server's newest checkpoint, or `under` one that is believed already."""
        known = yield from self._newest()
        request = proofs_pb2.GetInclusionProofRequest(index=index, tree_size=under.size if under else 0)
        response = yield from ask(methods.GET_INCLUSION_PROOF, request)
        checkpoint = under or (yield from self._agreed(response.checkpoint, known))
        hashes = tuple(response.hashes)
        merkle.verify_inclusion(response.leaf_hash, index, checkpoint.size, hashes, checkpoint.root)
        return InclusionProof(index, response.leaf_hash, hashes, checkpoint)
