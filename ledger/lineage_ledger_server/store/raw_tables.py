"""Tables row by row, as stored and with nothing checked: what an audit reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from lineage_ledger_server.store.environment import Environment, ReadTransaction
from lineage_ledger_server.store.log_store import LogStore

# More than any value that was written: what is longer is cut, so it differs from what it should be and costs no more.
MAX_VALUE_BYTES = 32 << 20


class RawTables:
    """Valid inside the `with` that gave it; all it returns is copied out of LMDB's map."""

    def __init__(self, environment: Environment, txn: ReadTransaction) -> None:
        self._environment = environment
        self._txn = txn

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under `key`; None: there is none."""
        value = self._txn.get(key, db=self._environment.table(table))
        return None if value is None else bytes(value[:MAX_VALUE_BYTES])

    def names(self, limit: int) -> list[bytes]:
        """The first `limit` keys of the table of tables, in order."""
        with self._txn.cursor() as cursor:
            return [bytes(key) for key in islice(cursor.iternext(values=False), limit)]

    def rows(self, table: str, first_key: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All rows in order of their keys, from `first_key` on."""
        with self._txn.cursor(self._environment.table(table)) as cursor:
            if first_key and not cursor.set_range(first_key):
                return
            for key, value in cursor.iternext():
                yield bytes(key), bytes(value[:MAX_VALUE_BYTES])

    def lengths(self, table: str) -> Iterator[tuple[bytes, int]]:
        """Keys and the lengths of their values, in order of keys."""
        with self._txn.cursor(self._environment.table(table)) as cursor:
            for key, value in cursor.iternext():
                yield bytes(key), len(value)

    def count(self, table: str) -> int:
        """Rows in the table."""
        return int(self._txn.stat(self._environment.table(table))["entries"])


class RawEnvironment:
    """The LMDB environment in the folder `path`, opened to be read only and without a lock; a process opens it once.

    Raises StoreError if it cannot be opened.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._environment = Environment(path, tables=names, read_only=True)

    @contextmanager
    def tables(self) -> Iterator[RawTables]:
        """All tables at one moment. While it lasts, pages that a writer frees are not used again: the file grows."""
        with self._environment.read() as txn:
            yield RawTables(self._environment, txn)

    def log_store(self) -> LogStore:
        """The log, if it is one, for those who read it in the ordinary way."""
        return LogStore(self._environment, None)

    def close(self) -> None:
        self._environment.close()
