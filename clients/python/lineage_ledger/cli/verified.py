"""Reads from a server and believes nothing of it: every entry is proven under a checkpoint of the pinned key."""

from __future__ import annotations

from lineage_ledger import kernel
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats import merkle, seal
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.trace import SealedEntry
from lineage_ledger.v1 import entries_pb2, proofs_pb2


class VerifiedReader:
    """Entries of one ledger, as they are under its checkpoints. Methods raise `VerificationError` and `RpcError`.

    Checkpoints only grow, and each is shown to hold the tree of the one before.
    """

    def __init__(self, connection: Connection, verifier: Verifier) -> None:
        self._connection = connection
        self._verifier = verifier
        self._checkpoint: Checkpoint | None = None
        self._seals: dict[int, seal.ParsedSeal] = {}
        self._leaf_hashes: dict[int, bytes] = {}

    @property
    def origin(self) -> str:
        """The ledger's name."""
        return self._verifier.name

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint that was needed so far."""
        return self._checkpoint or self._advance(0)

    def entry(self, index: int) -> bytes:
        """The entry at `index`."""
        entry = self._connection.call(methods.GET_ENTRY, entries_pb2.GetEntryRequest(index=index)).entry
        self.prove(index, entry)
        return entry

    def prove(self, index: int, entry: bytes) -> None:
        """Check that `entry` is at `index`."""
        checkpoint = self.checkpoint if index < self.checkpoint.size else self._advance(index)
        answer = self._connection.call(
            methods.GET_INCLUSION_PROOF, proofs_pb2.GetInclusionProofRequest(index=index, tree_size=checkpoint.size)
        )
        merkle.verify_inclusion(merkle.leaf_hash(entry), index, checkpoint.size, answer.hashes, checkpoint.root)

    def sealed(self, index: int, entry: bytes, seal_index: int) -> SealedEntry:
        """`entry` at `index` with the seal at `seal_index`: both in the tree, and the one signed by the other."""
        self.prove(index, entry)
        parsed = self._seals.get(seal_index) or self._read_seal(seal_index)
        first = seal_index - parsed.body.count
        if not first <= index < seal_index:
            raise VerificationError(f"the seal at index {seal_index} does not close entry {index}, as the server says")
        start = (index - first) * merkle.HASH_SIZE
        if self._leaf_hashes[seal_index][start : start + merkle.HASH_SIZE] != merkle.leaf_hash(entry):
            raise VerificationError(f"entry {index} is not what the producer sealed at index {seal_index}")
        return SealedEntry(index, entry, seal_index, parsed)

    def _read_seal(self, seal_index: int) -> seal.ParsedSeal:
        """The seal, its signature and its batch's root checked."""
        parsed = seal.parse_seal(self.entry(seal_index))
        seal.check_seal(parsed, self.origin)
        hashes = self._batch_leaf_hashes(seal_index - parsed.body.count, seal_index)
        if kernel.tree_root(hashes) != parsed.body.root:
            raise VerificationError(
                f"the entries that the server sent of the batch at {seal_index} are not those sealed"
            )
        self._seals[seal_index], self._leaf_hashes[seal_index] = parsed, hashes
        return parsed

    def _batch_leaf_hashes(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        request = entries_pb2.StreamEntriesRequest(start=start, end=end)
        hashes, size = bytearray(), (end - start) * merkle.HASH_SIZE
        responses = self._connection.stream(
            methods.STREAM_ENTRIES, request, timeout_s=self._connection.endpoint.timeout_s
        )
        for response in responses:
            hashes += kernel.leaf_hashes(response.packed)
            if len(hashes) > size:
                responses.cancel()
                break
        return bytes(hashes)

    def _advance(self, index: int) -> Checkpoint:
        """A newer checkpoint, which covers `index`."""
        signed = self._connection.call(methods.GET_CHECKPOINT, proofs_pb2.GetCheckpointRequest()).checkpoint
        newer, older = Checkpoint.open(signed, self._verifier), self._checkpoint
        if newer.size <= index:
            raise VerificationError(f"the server speaks of entry {index}, its checkpoint covers {newer.size} only")
        if older is not None:
            proof = self._connection.call(
                methods.GET_CONSISTENCY_PROOF,
                proofs_pb2.GetConsistencyProofRequest(old_size=older.size, new_size=newer.size),
            )
            merkle.verify_consistency(older.size, older.root, newer.size, newer.root, proof.hashes)
        self._checkpoint = newer
        return newer
