"""What the log's tables held at one moment: values as stored, nothing of them verified (that is `log_reader`'s)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from lineage_ledger_server.errors import CorruptValueError, IndexOutOfRangeError
from lineage_ledger_server.store import rows
from lineage_ledger_server.store.environment import Environment, ReadTransaction
from lineage_ledger_server.store.packed_entries import span
from lineage_ledger_server.store.right_edge import RightEdge
from lineage_ledger_server.store.rows import HASH_SIZE, TILE_BYTES, WIDTH, BatchRow, ChainRow, ProducerRow


class Counts(NamedTuple):
    """How many rows there are."""

    chains: int
    producers: int
    batches: int


class LogSnapshot:
    """Valid inside the `with` that gave it; all it returns is copied out of LMDB's map."""

    def __init__(self, environment: Environment, txn: ReadTransaction) -> None:
        self._environment = environment
        self._txn = txn
        self.size = self._size()
        """Entries committed; may be more than the published head's."""

    def _get(self, table: str, key: bytes) -> memoryview | None:
        return self._txn.get(key, db=self._environment.table(table))

    def _row(self, table: str, key: bytes) -> bytes | None:
        """Value of a row with a checksum."""
        stored = self._get(table, key)
        return None if stored is None else rows.without_checksum(table, key, stored)

    def _last(self, table: str) -> tuple[int, memoryview] | None:
        """Number and value of the last row of a table with u64 keys."""
        with self._txn.cursor(self._environment.table(table)) as cursor:
            return (rows.number_of(cursor.key()), cursor.value()) if cursor.last() else None

    def _rows_from(self, table: str, key: bytes) -> Iterator[tuple[memoryview, memoryview]]:
        with self._txn.cursor(self._environment.table(table)) as cursor:
            if cursor.set_range(key):
                yield from cursor.iternext()

    def _checked_rows_from(self, table: str, key: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = islice(self._rows_from(table, key), limit)
        return [(bytes(key), rows.without_checksum(table, key, stored)) for key, stored in found]

    def _size(self) -> int:
        if (tail := self._last("tail")) is not None:
            first_index, value = tail
            return first_index + rows.tail_count(value)
        bundle = self._last("bundles")
        return WIDTH * (bundle[0] + 1) if bundle is not None else 0

    # Entries and hashes

    def bundle_bytes(self, number: int) -> tuple[bytes, bytes]:
        """Leaf hashes (32 bytes each) and packed entries of a bundle; the last one holds fewer than 256.

        Raises IndexOutOfRangeError, or CorruptValueError if the row is missing or too short.
        """
        value = self._bundle(number)
        if value is None:
            return self._tail()
        return bytes(value[:TILE_BYTES]), bytes(value[TILE_BYTES:])

    def packed_bundles(self, first: int, end: int) -> list[memoryview]:
        """Packed entries of the full bundles [first, end), in LMDB's map: not valid outside of the `with`.

        Raises as `bundle_bytes` does.
        """
        values = [self._bundle(number) for number in range(first, end)]
        return [(value or memoryview(b""))[TILE_BYTES:] for value in values]

    def _bundle(self, number: int) -> memoryview | None:
        """A full bundle's value; None if that bundle is the tail."""
        if not 0 <= number * WIDTH < self.size:
            raise IndexOutOfRangeError(f"there is no bundle {number}; the log has {self.size} entries", size=self.size)
        value = self._get("bundles", rows.number_key(number))
        if value is None and number == self.size // WIDTH:
            return None
        if value is None or len(value) < TILE_BYTES:
            raise CorruptValueError(
                f"bundle {number} is missing or cut short; restore the log from a copy", index=number * WIDTH
            )
        return value

    def _tail(self) -> tuple[bytes, bytes]:
        first_index = self.size - self.size % WIDTH
        pieces = [rows.split_tail(value) for _, value in self._rows_from("tail", rows.number_key(first_index))]
        return b"".join(hashes for hashes, _ in pieces), b"".join(packed for _, packed in pieces)

    def _tail_hashes(self) -> bytes:
        first_index = self.size - self.size % WIDTH
        return b"".join(rows.tail_hashes(value) for _, value in self._rows_from("tail", rows.number_key(first_index)))

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """The first `width` hashes of a tile, 32 bytes each; level 0 is leaf hashes, from the bundles.

        Raises IndexOutOfRangeError if the log is not large enough for them, CorruptValueError if they are missing.
        """
        if not (number >= 0 and 1 <= width <= WIDTH and (number * WIDTH + width) << 8 * level <= self.size):
            raise IndexOutOfRangeError(
                f"tile {level}/{number} of width {width} is not in a log of {self.size} entries", size=self.size
            )
        if level == 0:
            value = self._bundle(number)
            hashes = self._tail_hashes() if value is None else bytes(value[: width * HASH_SIZE])
        else:
            hashes = bytes(self._get("tiles", rows.tile_key(level, number)) or b"")
        if len(hashes) < width * HASH_SIZE:
            raise CorruptValueError(
                f"tile {level}/{number} is missing or cut short; restore the log from a copy", tile=(level, number)
            )
        return hashes[: width * HASH_SIZE]

    def partial_tiles(self, size: int, level: int = 0) -> tuple[bytes, ...]:
        """Hashes of the partial tiles, of this level and above, that the tree of `size` entries had; as stored.

        Raises as `tile_hashes` does.
        """
        tiles = []
        while count := size >> 8 * level:
            number, width = divmod(count, WIDTH)
            tiles.append(self.tile_hashes(level, number, width) if width else b"")
            level += 1
        return tuple(tiles)

    def leaf_hashes(self, start: int, end: int) -> bytes:
        """Of the entries [start, end), 32 bytes each. Raises as `tile_hashes` does."""
        parts = []
        while start < end:
            number, place = divmod(start, WIDTH)
            stop = min(WIDTH, place + end - start)
            parts.append(self.tile_hashes(0, number, stop)[place * HASH_SIZE :])
            start += stop - place
        return b"".join(parts)

    def right_edge(self, size: int) -> RightEdge:
        """The right edge that the tree of the first `size` entries had, as stored. Raises CorruptValueError."""
        number, width = divmod(size, WIDTH)
        tail_hashes, tail_packed = b"", b""
        if width:
            hashes, packed = self.bundle_bytes(number)
            try:
                tail_packed = packed[: span(packed, 0, width)[1]]
            except ValueError as error:
                raise CorruptValueError(f"bundle {number} is damaged: {error}", index=number * WIDTH) from error
            tail_hashes = hashes[: width * HASH_SIZE]
            if len(tail_hashes) < width * HASH_SIZE:
                raise CorruptValueError(f"bundle {number} is damaged: hashes are missing", index=number * WIDTH)
        return RightEdge(size, tail_hashes, (tail_packed,) if tail_packed else (), self.partial_tiles(size, 1))

    # Batches

    def batch_at(self, seal_index: int) -> BatchRow | None:
        value = self._row("batches", rows.number_key(seal_index))
        return None if value is None else rows.batch_row(seal_index, value)

    def batch_covering(self, index: int) -> BatchRow | None:
        """The batch whose entries, or seal, include `index`; None if it is an entry of the ledger's own."""
        for row in self.batches_from(index, 1):
            if row.seal_index - row.count <= index:
                return row
        return None

    def batches_from(self, seal_index: int, limit: int) -> list[BatchRow]:
        """At most `limit` batches in order, from the first whose seal is at `seal_index` or later."""
        found = self._checked_rows_from("batches", rows.number_key(seal_index), limit)
        return [rows.batch_row(rows.number_of(key), value) for key, value in found]

    def seal_index_of(self, chain_ordinal: int, batch_sequence: int) -> int | None:
        value = self._row("directory", rows.directory_key(chain_ordinal, batch_sequence))
        return None if value is None else rows.number_of(value)

    # Chains and producers

    def chain(self, chain_id: bytes) -> ChainRow | None:
        value = self._row("chains", chain_id)
        return None if value is None else rows.chain_row(value)

    def chain_id(self, ordinal: int) -> bytes | None:
        return self._row("chain_ids", rows.ordinal_key(ordinal))

    def chains_from(self, ordinal: int, limit: int) -> list[tuple[bytes, ChainRow | None]]:
        """At most `limit` chains in the order in which they came, from `ordinal` on: id, and row if there is one."""
        found = self._checked_rows_from("chain_ids", rows.ordinal_key(ordinal), limit)
        return [(chain_id, self.chain(chain_id)) for _, chain_id in found]

    def producer(self, public_key: bytes) -> ProducerRow | None:
        value = self._row("producers", public_key)
        return None if value is None else rows.producer_row(value)

    def producers(self, after: bytes, limit: int) -> list[tuple[bytes, ProducerRow]]:
        """At most `limit` producers by ascending public key, those above `after` (empty: from the first)."""
        found = self._checked_rows_from("producers", after + b"\0", limit)
        return [(key, rows.producer_row(value)) for key, value in found]

    def ledger_key_indexes(self) -> tuple[int, ...]:
        """Indexes of the entries that changed the ledger's key, ascending."""
        value = self._row("meta", rows.LEDGER_KEYS_KEY)
        return () if value is None else rows.ledger_key_indexes(value)

    # Blocks

    def block_index(self, number: int) -> int | None:
        value = self._row("blocks", rows.number_key(number))
        return None if value is None else rows.number_of(value)

    def last_block(self) -> tuple[int, int] | None:
        """Number and index of the newest block; None in an empty log."""
        last = self._last("blocks")
        if last is None:
            return None
        number, stored = last
        return number, rows.number_of(rows.without_checksum("blocks", rows.number_key(number), stored))

    def counts(self) -> Counts:
        """Rows in the tables, which LMDB keeps count of."""
        return Counts(*(self._entries(table) for table in ("chains", "producers", "batches")))

    def _entries(self, table: str) -> int:
        return self._txn.stat(self._environment.table(table))["entries"]
