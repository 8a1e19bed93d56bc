"""The derived indexes on disk: an LMDB environment of their own, which can be thrown away and made again from the log.

| table | key | value |
|---|---|---|
| `postings` | u8 `Posting` ‖ subject ‖ u64 index | u32 count for BOUND, else empty |
| `runs` | see `run_rows` | rows of request ids |
| `meta` | `format`, `position` | format version and origin; `Position` |

Integers are big-endian. A posting says that the entry at `index` is about the subject; no subject is the beginning of
another one of its kind. What a commit adds, and how far the indexes are then, are one transaction.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from lineage_ledger_server.errors import StoreError
from lineage_ledger_server.store.disk_use import IndexUse, index_use
from lineage_ledger_server.store.environment import MAP_BYTES, MAX_MAP_BYTES, Environment, ReadTransaction, put_all
from lineage_ledger_server.store.run_rows import RunKey, delete_run, find_rows, parts_of, rows_of

TABLES = ("postings", "runs", "meta")
FORMAT = b"lineage-ledger index 4 "
FORMAT_KEY = b"format"
POSITION_KEY = b"position"

_POSITION = struct.Struct(">Q32sQQQ")


class Posting(IntEnum):
    """What a posting's index says about its subject."""

    STATEMENT = 1
    """Subject: leaf hash. The statement with that hash."""
    ARTIFACT = 2
    """Subject, as of the next four: digest key. An artifact with that digest."""
    GENERATED = 3
    """A run that has it among its outputs."""
    USED = 4
    """A run that has it among its inputs, or as code or environment."""
    DEPLOYED = 5
    """A deployment whose model it is."""
    ATTESTED = 6
    """An attestation about it."""
    BOUND = 7
    """Subject: leaf hash of a deployment. A seal with predictions bound to it; their count is the value."""
    SEALED = 8
    """Subject, as of the next: public key. A seal by that key."""
    OPENED = 9
    """A seal that opens a chain of that key."""
    RECOVERED = 10
    """Subject: chain id ‖ public key. A seal that opens another chain of that key and names the chain as its
    predecessor; others' seals that name it are no answer to anything."""


@dataclass(frozen=True, slots=True)
class PostingRow:
    """The entry at `index` is about `subject`, as `kind` says."""

    kind: Posting
    subject: bytes
    index: int
    count: int = 0


class Position(NamedTuple):
    """How far the indexes are, and what they have seen up to there."""

    size: int
    """Entries indexed."""
    root: bytes
    """Root of the tree of these entries, which tells this log from any other; 32 bytes."""
    predictions: int
    lost: int
    statements: int


EMPTY = Position(0, bytes(32), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class IndexWrite:
    """What one commit adds: postings, runs (and runs that were merged into larger ones), and the position after it."""

    before: Position
    after: Position
    postings: Sequence[PostingRow]
    runs: Mapping[RunKey, bytes]
    merged: Sequence[RunKey]


class IndexStore:
    """One thread of one process writes; any thread and process may read. Every method is one short transaction."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        origin: str,
        map_bytes: int = MAP_BYTES,
        max_map_bytes: int = MAX_MAP_BYTES,
        read_only: bool = False,
    ) -> IndexStore:
        """Open the indexes of the ledger `origin`. Those of another origin or format are emptied, to be made again;
        if `read_only`, they are a StoreError."""
        environment = Environment(
            path, tables=TABLES, map_bytes=map_bytes, max_map_bytes=max_map_bytes, read_only=read_only
        )
        try:
            store = cls(environment)
            expected = FORMAT + origin.encode()
            with environment.read() as txn:
                found = bytes(txn.get(FORMAT_KEY, b"", db=environment.table("meta")))
                position = txn.get(POSITION_KEY, db=environment.table("meta"))
                is_usable = position is None or len(position) == _POSITION.size
            if found != expected or not is_usable:
                if read_only:
                    what = f"the indexes {found!r}, not {expected!r}" if is_usable else "indexes of no known position"
                    raise StoreError(f"{path} holds {what}; the server makes them anew")
                store.clear()
                with environment.write() as writing:
                    writing.put(FORMAT_KEY, expected, db=environment.table("meta"))
            return store
        except BaseException:
            environment.close()
            raise

    def position(self) -> Position:
        """How far the indexes are."""
        with self._environment.read() as txn:
            return self._position(txn)

    def _position(self, txn: ReadTransaction) -> Position:
        value = txn.get(POSITION_KEY, db=self._environment.table("meta"))
        return EMPTY if value is None else Position._make(_POSITION.unpack(value))

    def commit(self, write: IndexWrite) -> None:
        """Add what follows the position; all or nothing. Raises DiskFullError or StoreError."""
        table = self._environment.table
        with self._environment.write(sum(map(len, write.runs.values())) + 128 * len(write.postings)) as txn:
            value = txn.get(POSITION_KEY, db=table("meta"))
            if (_POSITION.pack(*EMPTY) if value is None else bytes(value)) != _POSITION.pack(*write.before):
                raise StoreError("the indexes are not where this commit begins; read the position again")
            put_all(txn, table("postings"), [(_posting_key(row), _posting_value(row)) for row in write.postings])
            put_all(txn, table("runs"), [part for key, rows in write.runs.items() for part in parts_of(key, rows)])
            for key in write.merged:
                delete_run(txn, table("runs"), key)
            txn.put(POSITION_KEY, _POSITION.pack(*write.after), db=table("meta"))

    def clear(self) -> None:
        """Throw all away but the format; the position is 0 then."""
        with self._environment.write() as txn:
            for name in ("postings", "runs"):
                txn.drop(self._environment.table(name), delete=False)
            txn.delete(POSITION_KEY, db=self._environment.table("meta"))

    def postings(self, kind: Posting, subject: bytes, start: int, end: int, limit: int) -> list[tuple[int, int]]:
        """At most `limit` postings with start <= index < end, ascending: index, and count (0 but for BOUND)."""
        prefix = bytes((kind,)) + subject
        found: list[tuple[int, int]] = []
        with (
            self._environment.read() as txn,
            txn.cursor(self._environment.table("postings")) as cursor,
        ):
            if not cursor.set_range(prefix + start.to_bytes(8, "big")):
                return found
            for key, value in cursor.iternext():
                index = int.from_bytes(key[-8:], "big")
                if len(found) == limit or bytes(key[:-8]) != prefix or index >= end:
                    break
                found.append((index, int.from_bytes(value, "big")))
        return found

    def run(self, key: RunKey) -> bytes:
        """A run's rows; empty if it has none, or is not there."""
        with self._environment.read() as txn:
            return rows_of(txn, self._environment.table("runs"), key)

    def find_rows(self, prefix: bytes, start: int, end: int, limit: int) -> list[int]:
        """At most `limit` indexes in [start, end), ascending, whose rows begin with `prefix` (10 bytes).

        Others' request ids may have the same prefix, so a hit is only that: look at the entry.
        """
        with self._environment.read() as txn:
            size = self._position(txn).size
            return find_rows(txn, self._environment.table("runs"), prefix, start, end, size, limit)

    def dump(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Every row of every table, in order: what two builds of one log are compared by."""
        for name in TABLES:
            with self._environment.read() as txn, txn.cursor(self._environment.table(name)) as cursor:
                rows = [(bytes(key), bytes(value)) for key, value in cursor]
            yield from ((name, key, value) for key, value in rows)

    @property
    def file_bytes(self) -> int:
        """Bytes that the indexes take on disk."""
        return self._environment.file_bytes

    def disk_use(self) -> IndexUse:
        """What they hold. Raises StoreError."""
        return index_use(self._environment)

    def check_readers(self) -> int:
        """Free the reader slots of killed processes; how many there were."""
        return self._environment.check_readers()

    def close(self) -> None:
        self._environment.close()


def _posting_key(row: PostingRow) -> bytes:
    return bytes((row.kind,)) + row.subject + row.index.to_bytes(8, "big")


def _posting_value(row: PostingRow) -> bytes:
    return row.count.to_bytes(4, "big") if row.count else b""
