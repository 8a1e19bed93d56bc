"""A group: everything that one commit makes durable, closed by its block. Pure; writes nothing."""

from __future__ import annotations

from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.ledger_keys import LedgerKeys
from lineage_ledger.v1 import append_pb2, entry_pb2
from lineage_ledger_server.errors import AdminError, RefusedError
from lineage_ledger_server.sequencer import chains, producers
from lineage_ledger_server.sequencer.check import CheckedBatch
from lineage_ledger_server.sequencer.producers import AdminChange
from lineage_ledger_server.sequencer.signing import KeyChange, check_follows
from lineage_ledger_server.sequencer.state import State
from lineage_ledger_server.store.rows import BatchRow, GroupWrite


class Group:
    """Gives out indexes from `first_index` on, in the order of the calls.

    Each call decides one piece of work against the ledger and the group so far; one that is refused raises and leaves
    no trace. `finish` closes the group.
    """

    def __init__(self, state: State, first_index: int, block_number: int, ledger_keys: LedgerKeys) -> None:
        self._state = state
        self._first_index = first_index
        self._block_number = block_number
        self._ledger_keys = ledger_keys
        self._next_index = first_index
        self._packed: list[bytes] = []
        self._leaf_hashes: list[bytes] = []
        self._batches: list[BatchRow] = []
        self.key_change: tuple[KeyChange, int] | None = None
        """The change of the ledger's key in this group, and its index."""

    @property
    def empty(self) -> bool:
        """Whether nothing was taken."""
        return self._next_index == self._first_index

    def add_batch(self, batch: CheckedBatch) -> append_pb2.Acknowledgement:
        """Take a batch as the next one of its chain, or find it as one that is logged.

        Raises `SealError` or `SequenceError` with what speaks against it, and SEQUENCE_CONFLICT after noting a
        conflict.
        """
        body = batch.seal.body
        sequence, public_key = body.batch_sequence, body.public_key
        chain = self._state.chain(body.chain_id)
        if chain is None:
            chains.check_opening(batch.seal)
        else:
            chains.check_key(batch.seal, chain)
            if sequence < chain.next_sequence:
                return self._again(batch, chain)
        producers.check_may_append(
            self._state.producer(public_key),
            public_key,
            opens_chain=chain is None,
            block_number=self._block_number,
        )
        if chain is not None:
            chains.check_next(batch.seal, chain)
        seal_index = self._next_index + batch.count - 1
        if chain is None:
            chain = chains.opened_by(batch.seal, self._state.take_ordinal(), seal_index)
        else:
            chain = chains.advanced(chain, batch.seal, seal_index)
        row = BatchRow(seal_index, chain.row.ordinal, sequence, body.first_number, body.count)
        self._state.changed_chains[chain.chain_id] = chain
        self._state.new_batches[chain.chain_id, sequence] = (batch.seal, batch.seal_entry, row)
        self._batches.append(row)
        self._add(batch.packed, batch.leaf_hashes, batch.count)
        return _acknowledgement(chain.chain_id, row, duplicate=False)

    def _again(self, batch: CheckedBatch, chain: chains.Chain) -> append_pb2.Acknowledgement:
        """A sequence that the chain has already: the same content gets its old range, other content ends the chain."""
        body = batch.seal.body
        logged, logged_entry, row = self._state.logged_batch(chain, body.batch_sequence)
        if logged.body_bytes == batch.seal.body_bytes:
            return _acknowledgement(chain.chain_id, row, duplicate=True)
        if not chain.conflicted:
            producers.check_may_append(
                self._state.producer(body.public_key),
                body.public_key,
                opens_chain=False,
                block_number=self._block_number,
            )
            conflict = entry_pb2.Conflict(first_seal=logged_entry, second_seal=batch.seal_entry)
            index = self._next_index
            self._add_entry(entry_pb2.Entry(conflict=conflict).SerializeToString())
            chain = chains.conflicted(chain, index)
            self._state.changed_chains[chain.chain_id] = chain
        raise RefusedError(
            f"another content was signed for batch {body.batch_sequence} of chain {chain.chain_id.hex()}, which is "
            f"logged at index {row.seal_index}; the chain is ended, by a conflict at {chain.row.conflict_index}. "
            "Was the machine or its key cloned? Open a new chain",
            reason="SEQUENCE_CONFLICT",
            conflict_index=chain.row.conflict_index,
        )

    def add_change(self, change: AdminChange) -> int:
        """Take an admin's change; returns the index of its entry. Raises `AdminError`."""
        index = self._next_index
        producer = producers.changed(change, self._state.producer(change.public_key), index)
        self._add_entry(change.entry)
        self._state.changed_producers[change.public_key] = producer
        return index

    def add_key_change(self, change: KeyChange) -> int:
        """Take a change of the ledger's key; returns the index of its entry. Raises `AdminError`.

        One a group: the next must replace this one's key, which is in force once the group is written.
        """
        check_follows(change, self._ledger_keys)
        if self.key_change is not None:
            raise AdminError("the ledger's key is being changed by another call", reason="INVALID_ARGUMENT")
        index = self._next_index
        self._add_entry(change.entry)
        self.key_change = (change, index)
        return index

    def finish(self, time_unix_ns: int, previous_block_hash: bytes) -> tuple[GroupWrite, bytes]:
        """Close the group with its block; returns what to write, and the leaf hash of the block's entry."""
        block = entry_pb2.Block(
            number=self._block_number, time_unix_ns=time_unix_ns, previous_block_hash=previous_block_hash
        )
        entry = entry_pb2.Entry(block=block).SerializeToString()
        block_index = self._next_index
        block_hash = self._add_entry(entry)
        write = GroupWrite(
            first_index=self._first_index,
            packed=b"".join(self._packed),
            leaf_hashes=b"".join(self._leaf_hashes),
            batches=self._batches,
            chains={chain_id: chain.row for chain_id, chain in self._state.changed_chains.items()},
            producers={key: producer.row for key, producer in self._state.changed_producers.items()},
            block_number=self._block_number,
            block_index=block_index,
            ledger_keys=self._key_changes(),
        )
        return write, block_hash

    def _key_changes(self) -> list[int]:
        """Indexes of all changes of the ledger's key, if one of them is in this group."""
        if self.key_change is None:
            return []
        return [*(index for index, _ in self._ledger_keys.changes[1:]), self.key_change[1]]

    def _add_entry(self, entry: bytes) -> bytes:
        strict.check_entry(entry)
        leaf_hash = merkle.leaf_hash(entry)
        self._add(len(entry).to_bytes(2, "big") + entry, leaf_hash, 1)
        return leaf_hash

    def _add(self, packed: bytes, leaf_hashes: bytes, count: int) -> None:
        self._packed.append(packed)
        self._leaf_hashes.append(leaf_hashes)
        self._next_index += count


def _acknowledgement(chain_id: bytes, row: BatchRow, *, duplicate: bool) -> append_pb2.Acknowledgement:
    return append_pb2.Acknowledgement(
        chain_id=chain_id,
        batch_sequence=row.batch_sequence,
        first_index=row.seal_index - row.count,
        seal_index=row.seal_index,
        duplicate=duplicate,
        promise=append_pb2.PROMISE_PUBLISHED,
    )
