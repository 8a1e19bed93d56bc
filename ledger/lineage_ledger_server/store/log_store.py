"""The log on disk: entries, tiles, batches, chains, producers and blocks, a group of entries at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError
from lineage_ledger_server.errors import CorruptValueError, StoreError
from lineage_ledger_server.store import rows
from lineage_ledger_server.store.disk_use import LogUse, log_use
from lineage_ledger_server.store.environment import MAP_BYTES, MAX_MAP_BYTES, Environment, WriteTransaction, put_all
from lineage_ledger_server.store.log_snapshot import LogSnapshot
from lineage_ledger_server.store.right_edge import Growth, RightEdge
from lineage_ledger_server.store.rows import HASH_SIZE, WIDTH, ChainRow, GroupWrite

TABLES = (
    "bundles",
    "tail",
    "tiles",
    "batches",
    "directory",
    "chains",
    "chain_ids",
    "producers",
    "blocks",
    "meta",
)
FORMAT_KEY = b"format"
FORMAT = b"lineage-ledger log 1"


@dataclass(frozen=True, slots=True)
class PreparedGroup:
    """A group and what it makes of the tree; nothing is written yet."""

    group: GroupWrite
    base: RightEdge = field(repr=False)
    growth: Growth = field(repr=False)
    root: bytes
    """RFC 6962 root of the tree with the group, 32 bytes."""

    @property
    def size(self) -> int:
        """Entries with the group."""
        return self.growth.edge.size


class LogStore:
    """The log's LMDB environment. One thread of one process writes; any thread and process may take snapshots.

    The writer keeps the right edge of the tree in memory, and it changes only when a commit has succeeded.
    """

    def __init__(self, environment: Environment, edge: RightEdge | None) -> None:
        self._environment = environment
        self._edge = edge
        self._root: bytes | None = None  # of the edge, once it was asked for
        self._in_doubt = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        map_bytes: int = MAP_BYTES,
        max_map_bytes: int = MAX_MAP_BYTES,
        read_only: bool = False,
    ) -> LogStore:
        """Open the log in the folder `path`, and make it if it is not there, unless `read_only`.

        To write, the right edge is read: at most 255 entries, which are hashed again, and a tile of each level. Raises
        StoreError if it cannot be opened, CorruptValueError if the right edge is damaged.
        """
        environment = Environment(
            path, tables=TABLES, map_bytes=map_bytes, max_map_bytes=max_map_bytes, read_only=read_only
        )
        try:
            store = cls(environment, None)
            store._check_format(write=not read_only)
            if not read_only:
                with store.snapshot() as snapshot:
                    store._edge = _read_edge(snapshot)
            return store
        except BaseException:
            environment.close()
            raise

    def _check_format(self, *, write: bool) -> None:
        with self._environment.read() as txn:
            found = bytes(txn.get(FORMAT_KEY, b"", db=self._environment.table("meta")))
        if write and not found:
            with self._environment.write() as writing:
                writing.put(FORMAT_KEY, FORMAT, db=self._environment.table("meta"))
        elif found != FORMAT:
            raise StoreError(
                f"{self._environment.path} holds {found!r}, not {FORMAT!r}; was it made by another version?"
            )

    @property
    def edge(self) -> RightEdge:
        """The right edge of what is committed. Raises StoreError if the store is read-only."""
        if self._edge is None:
            raise StoreError(f"{self._environment.path} was opened to be read only")
        return self._edge

    @property
    def size(self) -> int:
        """Entries committed, as the writer knows it. Raises StoreError if the store is read-only."""
        return self.edge.size

    def root(self) -> bytes:
        """Root of what is committed, 32 bytes. Raises StoreError if the store is read-only."""
        if self._root is None:
            self._root = self.edge.root()
        return self._root

    @contextmanager
    def snapshot(self) -> Iterator[LogSnapshot]:
        """A consistent view of the tables. Keep it short, and take none inside another of the same thread."""
        with self._environment.read() as txn:
            yield LogSnapshot(self._environment, txn)

    def append(self, group: GroupWrite) -> None:
        """`prepare` and `commit`."""
        self.commit(self.prepare(group))

    def prepare(self, group: GroupWrite) -> PreparedGroup:
        """What the group makes of the tree, in memory. Raises StoreError for a group that does not fit on it."""
        if self._in_doubt:
            self._resolve_doubt()
        edge = self.edge
        if group.first_index != edge.size or not group.leaf_hashes or len(group.leaf_hashes) % HASH_SIZE:
            raise StoreError(
                f"a group of {len(group.leaf_hashes)} bytes of hashes from index {group.first_index} "
                f"does not follow the {edge.size} entries of the log"
            )
        try:
            growth = edge.grown(group.packed, group.leaf_hashes)
        except ValueError as error:
            raise StoreError(f"the group from index {group.first_index} is malformed: {error}") from error
        return PreparedGroup(group, edge, growth, growth.edge.root())

    def commit(self, prepared: PreparedGroup) -> None:
        """Write a group in one synced transaction; all of it or nothing.

        Raises DiskFullError or StoreError; the store is then as before, and can be used on.
        """
        if prepared.base is not self._edge:
            raise StoreError("the group was prepared on another state of the log; prepare it again")
        group, growth = prepared.group, prepared.growth
        try:
            with self._environment.write(len(group.packed) + len(group.leaf_hashes)) as txn:
                self._put_entries(txn, growth)
                self._put_rows(txn, group)
        except BaseException:
            self._in_doubt = True
            raise
        self._edge = growth.edge
        self._root = prepared.root

    def _resolve_doubt(self) -> None:
        """After a commit that failed, before writing on: memory and disk must agree that it failed."""
        with self.snapshot() as snapshot:
            size = snapshot.size
        if size != self.edge.size:
            raise StoreError(
                f"a commit failed, and yet the log has {size} entries instead of {self.edge.size}; restart the ledger, "
                "which compares the log with the head record"
            )
        self._in_doubt = False

    def _put_entries(self, txn: WriteTransaction, growth: Growth) -> None:
        table = self._environment.table
        if growth.bundles:
            bundles = [(rows.number_key(b.number), b.leaf_hashes + b.packed) for b in growth.bundles]
            put_all(txn, table("bundles"), bundles, append=True)
            txn.drop(table("tail"), delete=False)
            put_all(txn, table("tiles"), [(rows.tile_key(t.level, t.number), t.hashes) for t in growth.tiles])
        if growth.tail is not None:
            tail = growth.tail
            row = (rows.number_key(tail.first_index), rows.tail_value(tail.leaf_hashes, tail.packed))
            put_all(txn, table("tail"), [row], append=True)

    def _put_rows(self, txn: WriteTransaction, group: GroupWrite) -> None:
        row, table = rows.with_checksum, self._environment.table
        batches = [row(rows.number_key(batch.seal_index), rows.batch_value(batch)) for batch in group.batches]
        put_all(txn, table("batches"), batches, append=True)
        directory = [
            row(rows.directory_key(batch.chain_ordinal, batch.batch_sequence), rows.number_key(batch.seal_index))
            for batch in group.batches
        ]
        put_all(txn, table("directory"), directory)
        put_all(txn, table("chains"), [row(key, rows.chain_value(chain)) for key, chain in group.chains.items()])
        new = {key: chain for key, chain in group.chains.items() if chain.first_seal_index >= group.first_index}
        self._put_chain_ids(txn, new)
        producers = [row(key, rows.producer_value(producer)) for key, producer in group.producers.items()]
        put_all(txn, table("producers"), producers)
        block = row(rows.number_key(group.block_number), rows.number_key(group.block_index))
        put_all(txn, table("blocks"), [block], append=True)
        if group.ledger_keys:
            put_all(txn, table("meta"), [row(rows.LEDGER_KEYS_KEY, rows.ledger_keys_value(group.ledger_keys))])

    def _put_chain_ids(self, txn: WriteTransaction, chains: Mapping[bytes, ChainRow]) -> None:
        """Of new chains; the ordinal of a chain does not change."""
        table = self._environment.table("chain_ids")
        for chain_id, chain in chains.items():
            key, value = rows.with_checksum(rows.ordinal_key(chain.ordinal), chain_id)
            if not txn.put(key, value, overwrite=False, db=table):
                raise StoreError(f"ordinal {chain.ordinal} belongs to another chain than {chain_id.hex()}")

    def check_readers(self) -> int:
        """Free the reader slots of killed processes; how many there were. Call it from a timer."""
        return self._environment.check_readers()

    @property
    def file_bytes(self) -> int:
        """Bytes that the log takes on disk."""
        return self._environment.file_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes of the map that are, or were, in use."""
        return self._environment.used_bytes

    @property
    def map_bytes(self) -> int:
        """The most that the map can hold now, in bytes; it grows at need."""
        return self._environment.map_bytes

    def disk_use(self) -> LogUse:
        """What the bytes on disk hold. Raises StoreError."""
        return log_use(self._environment)

    def oldest_read(self) -> int:
        """How many commits ago the oldest view was taken that somebody, in any process, still looks at; 0: none."""
        return self._environment.oldest_read()

    def close(self) -> None:
        self._environment.close()


def _read_edge(snapshot: LogSnapshot) -> RightEdge:
    """The right edge as stored. The tail is hashed again here; the tiles are held to the head record by `reconcile`."""
    edge = snapshot.right_edge(snapshot.size)
    try:
        intact = all(kernel.leaf_hashes(packed) == edge.tail_hashes for packed in edge.tail_packed)
    except LineageError:
        intact = False
    if not intact:
        first_index = edge.size - edge.size % WIDTH
        raise CorruptValueError(
            f"the entries from index {first_index} on do not have their stored hashes; restore the log from a copy",
            index=first_index,
        )
    return edge
