"""What readers are answered, up to the published head; every answer was hashed again, from the head's root down.

The tables of batches, chains, producers and blocks are pointers only: what a row says is held against the entries that
it points at. So a row that somebody removed or changed with care can hide something (lookups prove what they return,
never absence), but not invent it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lineage_ledger.formats import seal as seals
from lineage_ledger.formats import strict
from lineage_ledger.formats.ledger_keys import LedgerKeys, follow
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.seal import ParsedSeal
from lineage_ledger.kernel import RequestIdRows
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import (
    IndexOutOfRangeError,
    NotFoundError,
    PredictionLostError,
)
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.reading.caches import Caches
from lineage_ledger_server.reading.verified_rows import (
    checked_producer,
    damaged,
    last_batch,
    parse_pointed,
    parse_seal,
    pointed_entry,
    seal_of_row,
)
from lineage_ledger_server.reading.verified_tree import VerifiedTree
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.rows import WIDTH, BatchRow, ChainRow, ProducerRow

_FIRST_LEDGER_KIND = 8


@dataclass(frozen=True, slots=True)
class LocatedPrediction:
    """A prediction that was found by its id."""

    index: int
    entry: bytes
    seal_index: int
    seal: ParsedSeal


class LogReader:
    """Reads `store` up to the head that `head` gives: a head record, or a function. Thread-safe.

    Methods raise NotFoundError, IndexOutOfRangeError (beyond the head), CorruptValueError (nothing is served then) and
    HeadMismatchError (the head that is published is not over the tree published before).
    """

    def __init__(self, store: LogStore, head: HeadRecord | Callable[[], Head]) -> None:
        self._store = store
        self._published = head.read_published if isinstance(head, HeadRecord) else head
        self._tree: VerifiedTree | None = None
        self._lock = threading.Lock()

    def head(self) -> Head:
        """The newest published head."""
        return self._published()

    def _current(self) -> VerifiedTree:
        head = self._published()
        tree = self._tree
        if tree is not None and tree.head == head:
            return tree
        with self._lock:
            # Read again: another thread may have gone on to a newer head than the one read above.
            head, tree = self._published(), self._tree
            if tree is None:
                tree = VerifiedTree(self._store, head, Caches())
            elif tree.head != head:
                tree = tree.follow(head)
            self._tree = tree
            return tree

    def tree(self) -> VerifiedTree:
        """The tree under the newest published head, for whoever has several questions about one."""
        return self._current()

    # Entries, hashes and proofs

    def entry(self, index: int) -> bytes:
        """The entry's bytes."""
        return self._current().entry(index)

    def leaf_hash(self, index: int) -> bytes:
        """The entry's leaf hash, 32 bytes."""
        return self._current().leaf_hash(index)

    def stored_leaf_hashes(self, start: int, end: int) -> bytes:
        """Of the entries [start, end), 32 bytes each, as they are stored: whoever makes a proof of them verifies it."""
        return self._current().stored_leaf_hashes(start, end)

    def packed_range(self, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
        """The entries [start, end), at most a bundle at a time: (index of the first, count, packed entries)."""
        tree = self._current()
        if not 0 <= start <= end <= tree.head.size:
            raise IndexOutOfRangeError(
                f"[{start}, {end}) is not within the {tree.head.size} entries published", size=tree.head.size
            )
        return self._runs(tree, start, end)

    def _runs(self, tree: VerifiedTree, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
        while start < end:
            number, place = divmod(start, WIDTH)
            count = min(WIDTH - place, end - start)
            yield start, count, tree.packed_bundle(number, place, place + count)
            start += count

    def request_id_rows(self, start: int, end: int, first_offset: int, max_bytes: int | None) -> RequestIdRows | None:
        """What `kernel.request_id_rows` finds in the full bundles [start, end); None if that is more than `max_bytes`.

        Only the entries that are no predictions are hashed again: a row must be held against the entry it points at.
        """
        tree = self._current()
        if start % WIDTH or end % WIDTH or not 0 <= start <= end <= tree.head.size:
            raise IndexOutOfRangeError(
                f"[{start}, {end}) are no full bundles of the {tree.head.size} entries published", size=tree.head.size
            )
        return tree.request_id_rows(start, end, first_offset, max_bytes)

    def tile(self, level: int, number: int) -> bytes:
        """All hashes the tile has under the head, 1 to 256 of 32 bytes each."""
        return self._current().tile(level, number)

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries, 32 bytes."""
        return self._current().root(size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Sibling hashes from the leaf to the root of the first `size` entries; verified."""
        return self._current().inclusion_proof(index, size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """That the first `old_size` (at least 1) entries begin the first `new_size`; verified."""
        return self._current().consistency_proof(old_size, new_size)

    def multiproof(self, indexes: Sequence[int], size: int) -> list[bytes]:
        """One proof for the entries at `indexes`, strictly ascending, in the first `size` entries."""
        return self._current().multiproof(indexes, size)

    def range_proof(self, start: int, end: int, size: int) -> list[bytes]:
        """One proof for all entries [start, end), at least one, in the first `size` entries."""
        return self._current().range_proof(start, end, size)

    # Batches

    def seal_of(self, index: int) -> tuple[BatchRow, ParsedSeal]:
        """The batch of the entry at `index`; a seal is in its own. NotFoundError for the ledger's own entries."""
        tree = self._current()
        tree.check_index(index)
        with self._store.snapshot() as snapshot:
            row = snapshot.batch_covering(index)
            chain_id = snapshot.chain_id(row.chain_ordinal) if row is not None else None
        if row is None:
            if tree.entry(index)[0] >> 3 >= _FIRST_LEDGER_KIND:
                raise NotFoundError(f"the entry at index {index} is the ledger's own and in no batch")
            damaged("batches", f"has no batch for index {index}", index)
        if row.seal_index >= tree.head.size:
            damaged("batches", f"puts index {index} into a batch that is not published", index)
        return row, seal_of_row(tree, row, chain_id)

    def locate(self, prediction_id: PredictionId) -> LocatedPrediction:
        """The prediction of that id. Raises NotFoundError, or PredictionLostError if its number was declared lost."""
        tree = self._current()
        chain_id, number, input_prefix = prediction_id
        with self._store.snapshot() as snapshot:
            chain = snapshot.chain(chain_id)
            row = last_batch(snapshot, chain, tree.head.size, number) if chain is not None else None
        if chain is None or row is None:
            raise NotFoundError(f"no chain {chain_id.hex()} is on record")
        seal = seal_of_row(tree, row, chain_id)
        if number >= seals.next_number(seal.body):
            raise NotFoundError(f"no batch of chain {chain_id.hex()} on record holds the number {number}")
        place = seals.place_of(seal.body, number)
        if place is None:
            raise PredictionLostError(
                f"prediction {prediction_id} was declared lost by the seal at index {row.seal_index}",
                seal_index=row.seal_index,
            )
        index = row.seal_index - row.count + place
        entry = tree.entry(index)
        message = strict.parse_entry(entry)
        if message.prediction.input_commitment[: len(input_prefix)] != input_prefix or not input_prefix:
            raise NotFoundError(
                f"number {number} of chain {chain_id.hex()} is not a prediction whose input commitment begins with "
                f"{input_prefix.hex()}; the id was changed"
            )
        return LocatedPrediction(index, entry, row.seal_index, seal)

    # Chains and producers

    def chain(self, chain_id: bytes) -> ChainRow | None:
        """Where the chain stands under the head; `last_seal_index` is of the last seal that is published."""
        tree = self._current()
        size = tree.head.size
        with self._store.snapshot() as snapshot:
            row = snapshot.chain(chain_id)
            last = last_batch(snapshot, row, size) if row is not None else None
        if row is None or last is None:
            return None
        for index, sequence in ((row.first_seal_index, 0), (last.seal_index, last.batch_sequence)):
            body = parse_seal(tree, index).body
            if body.chain_id != chain_id or body.batch_sequence != sequence:
                damaged("chains", f"names another seal than that of chain {chain_id.hex()}", index)
        conflict_index = row.conflict_index if row.conflict_index < size else 0
        if conflict_index and parse_pointed(tree, conflict_index).WhichOneof("kind") != "conflict":
            damaged("chains", f"names another entry than a conflict of chain {chain_id.hex()}", conflict_index)
        return ChainRow(row.ordinal, row.first_seal_index, last.seal_index, conflict_index)

    def opening_seal(self, chain_id: bytes) -> tuple[int, ParsedSeal]:
        """The seal that opened a chain on record, and its index. Raises NotFoundError."""
        tree = self._current()
        with self._store.snapshot() as snapshot:
            row = snapshot.chain(chain_id)
        if row is None or row.first_seal_index >= tree.head.size:
            raise NotFoundError(f"no chain {chain_id.hex()} is on record")
        opening = parse_seal(tree, row.first_seal_index)
        if opening.body.chain_id != chain_id or opening.body.batch_sequence:
            damaged("chains", f"names another seal than the first of chain {chain_id.hex()}", row.first_seal_index)
        return row.first_seal_index, opening

    def seals_of_chain(self, chain: ChainRow, first_sequence: int, limit: int) -> Iterator[int]:
        """Indexes of at most `limit` seals of a chain up to the head, by sequence from `first_sequence` on."""
        tree = self._current()
        for sequence in range(first_sequence, first_sequence + limit):
            with self._store.snapshot() as snapshot:
                index = snapshot.seal_index_of(chain.ordinal, sequence)
            if index is None or index >= tree.head.size:
                return
            if parse_seal(tree, index).body.batch_sequence != sequence:
                damaged("directory", f"names another seal than batch {sequence} of chain {chain.ordinal}", index)
            yield index

    def producer(self, public_key: bytes) -> ProducerRow | None:
        """The entries, up to the head, that registered and ended the producer."""
        tree = self._current()
        with self._store.snapshot() as snapshot:
            row = snapshot.producer(public_key)
        return None if row is None else checked_producer(tree, public_key, row)

    def producers(self, after: bytes, limit: int) -> list[tuple[bytes, ProducerRow]]:
        """At most `limit` producers by ascending public key, those above `after` (empty: from the first).

        Fewer than `limit` come back only at the end.
        """
        tree = self._current()
        found: list[tuple[bytes, ProducerRow]] = []
        while len(found) < limit:
            wanted = limit - len(found)
            with self._store.snapshot() as snapshot:
                page = snapshot.producers(after, wanted)
            for after, stored in page:
                row = checked_producer(tree, after, stored)
                if row is not None:
                    found.append((after, row))
            if len(page) < wanted:
                break
        return found

    # The ledger's keys

    def key_changes(self) -> list[tuple[int, bytes]]:
        """Index and entry of every change of the ledger's key up to the head."""
        tree = self._current()
        with self._store.snapshot() as snapshot:
            indexes = snapshot.ledger_key_indexes()
        changes = [(index, pointed_entry(tree, index)) for index in indexes if index < tree.head.size]
        for index, entry in changes:
            if not strict.parse_entry(entry).HasField("ledger_key"):
                damaged("meta", "names another entry than a change of the ledger's key", index)
        return changes

    def ledger_keys(self) -> LedgerKeys:
        """The keys that the ledger had up to the head; every change's signatures are checked."""
        genesis = self.entry(0)
        first = strict.parse_entry(genesis).genesis
        return follow(Verifier(first.origin, first.ledger_public_key), genesis, self.key_changes())

    # Blocks

    def block(self, number: int) -> tuple[int, entry_pb2.Block]:
        """Index and content of a block, counted from 1."""
        return self._block(self._current(), number)

    def _block(self, tree: VerifiedTree, number: int) -> tuple[int, entry_pb2.Block]:
        with self._store.snapshot() as snapshot:
            index = snapshot.block_index(number)
        if index is None or index >= tree.head.size:
            raise NotFoundError(f"there is no block {number} under the published head")
        block = parse_pointed(tree, index).block
        if block.number != number:
            damaged("blocks", f"names another entry than block {number}", index)
        return index, block

    def block_after(self, index: int, size: int) -> int:
        """Index of the first block behind the entry at `index`, below `size`, which is where a block ends.

        What the table of blocks says is only where to look: the two blocks on either side are read.
        """
        tree = self._current()
        low, high = 1, parse_pointed(tree, size - 1).block.number
        with self._store.snapshot() as snapshot:
            while low < high:
                middle = (low + high) // 2
                block_index = snapshot.block_index(middle)
                if block_index is None or block_index > index:
                    high = middle
                else:
                    low = middle + 1
        found, _ = self._block(tree, low)
        if found <= index or (low > 1 and self._block(tree, low - 1)[0] > index):
            damaged("blocks", f"does not lead to the block behind entry {index}", index)
        return found

    def blocks_between(self, from_unix_ns: int, until_unix_ns: int) -> tuple[int, int]:
        """Indexes [first, end) of the entries whose block's time (the ledger's) is in [from, until); 0: open."""
        tree = self._current()
        last = parse_pointed(tree, tree.head.size - 1).block.number
        if not last:
            damaged("head", "does not end with a block", tree.head.size - 1)
        first = self._end_before(tree, last, from_unix_ns) if from_unix_ns else 0
        end = self._end_before(tree, last, until_unix_ns) if until_unix_ns else tree.head.size
        return first, max(first, end)

    def _end_before(self, tree: VerifiedTree, last: int, time_unix_ns: int) -> int:
        """Index behind the last block whose time is before `time_unix_ns`; 0 if there is none."""
        low, high, end = 0, last, 0
        while low < high:
            middle = (low + high + 1) // 2
            index, block = self._block(tree, middle)
            if block.time_unix_ns < time_unix_ns:
                low, end = middle, index + 1
            else:
                high = middle - 1
        return end
