"""One LMDB environment with its tables: opened with an engine of fixed version, every commit synced, growing at need.

LMDB is left at its safe settings: no `writemap` (a full disk would kill the process), no `sync=False` (acknowledged
entries would be lost). A process opens an environment once, and not across `fork()`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lmdb

from lineage_ledger_server.errors import DiskFullError, StoreError

# 0.9, data format 1. The files of 1.0 are others, so the choice must not depend on the machine.
ENGINE_MAJOR = 0
# Sparse: it costs address space only. Doubled between transactions when it fills.
MAP_BYTES = 64 << 30
MAX_MAP_BYTES = 16 << 40
MAX_READERS = 1022
# Room that a commit may need besides its values: copied pages of the trees, LMDB's list of free pages.
COMMIT_SLACK_BYTES = 1 << 20

_META_PAGES = 2

# EIO: LMDB says so of a write that was cut short, which is how a disk becomes full.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

if TYPE_CHECKING:
    ReadTransaction = lmdb.Transaction[memoryview]
    WriteTransaction = lmdb.Transaction[bytes]
else:  # generic for the type checker only
    ReadTransaction = WriteTransaction = lmdb.Transaction


class PageUse(NamedTuple):
    """How the pages of an environment are used; bytes are those of whole pages."""

    rows: Mapping[str, int]
    """Of each table."""
    table_bytes: Mapping[str, int]
    """Of each table."""
    own_bytes: int
    """What LMDB keeps for itself: its two meta pages, and the table of tables."""
    free_bytes: int
    """Pages that commits may fill before the file grows, or may once nobody looks at them, and the list of them."""


class Environment:
    """Tables by name in the folder `path`. Any thread may read; one thread writes.

    Raises StoreError if the folder cannot be opened, or read-only and not there. LMDB's own exceptions do not leave
    `read` and `write`.
    """

    def __init__(
        self,
        path: Path,
        *,
        tables: Sequence[str],
        map_bytes: int = MAP_BYTES,
        max_map_bytes: int = MAX_MAP_BYTES,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._names = tuple(tables)
        self._initial_map_bytes = map_bytes
        self._max_map_bytes = max(map_bytes, max_map_bytes)
        # LMDB may be resized or reopened only while this process has no transaction: these two keep count.
        self._gate = threading.Condition()
        self._open_reads = 0
        self._changing = False
        self._must_reopen = False
        self._env, self._tables = self._open(map_bytes)
        self.check_readers()

    def _open(self, map_bytes: int) -> tuple[lmdb.Environment, dict[str, lmdb._Database]]:
        try:
            if not self.read_only:
                _make_durable_directory(self.path)
            env = lmdb.Environment(
                str(self.path),
                map_size=map_bytes,
                readonly=self.read_only,
                create=False,
                mode=0o600,
                max_readers=MAX_READERS,
                max_dbs=len(self._names),
                max_spare_txns=16,
                lib_version=ENGINE_MAJOR,
            )
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"cannot open the LMDB environment {self.path}: {error}") from error
        try:
            if self.read_only:
                tables = {name: env.open_db(name.encode(), create=False) for name in self._names}
            else:
                with env.begin(write=True) as txn:
                    tables = {name: env.open_db(name.encode(), txn=txn) for name in self._names}
                _sync_directory(self.path)
        except (lmdb.Error, OSError) as error:
            env.close()
            raise _translated(error, f"opening the tables of {self.path}") from error
        return env, tables

    def table(self, name: str) -> lmdb._Database:
        """Handle of a table, for use in a transaction that is open now (it may be another one later)."""
        return self._tables[name]

    @contextmanager
    def read(self) -> Iterator[ReadTransaction]:
        """A consistent view. Keep it short (a long one makes the file grow), do not open one inside another of the
        same thread, and copy what you need: the views that `get` gives die with it."""
        with self._gate:
            while self._changing:
                self._gate.wait()
            self._open_reads += 1
        try:
            with self._begin_read() as txn:
                yield txn
        except lmdb.Error as error:
            raise _translated(error, f"reading {self.path}") from error
        finally:
            with self._gate:
                self._open_reads -= 1
                self._gate.notify_all()

    def _begin_read(self) -> ReadTransaction:
        env = self._env
        if not self._must_reopen:
            try:
                return env.begin(buffers=True)
            except (lmdb.MapResizedError, lmdb.PanicError):
                pass  # the writing process has grown the map; or a commit failed while writing a meta page
        with self._gate:
            self._open_reads -= 1
        try:
            self._renew(env)
        finally:
            with self._gate:
                self._open_reads += 1
        return self._env.begin(buffers=True)

    @contextmanager
    def write(self, value_bytes: int = 0) -> Iterator[WriteTransaction]:
        """One synced transaction that is about to put `value_bytes` of values; all or nothing.

        Raises DiskFullError when disk or map are full, StoreError for any other failure. Either way nothing was
        changed, and the environment can be read and written again.
        """
        try:
            if self._must_reopen:
                self._renew(self._env)
            self._make_room(value_bytes)
            with self._begin_write() as txn:
                yield txn
        except lmdb.Error as error:
            raise _translated(error, f"writing {self.path}") from error

    def _begin_write(self) -> WriteTransaction:
        env = self._env
        try:
            return env.begin(write=True)
        except lmdb.PanicError:
            self._renew(env)
            return self._env.begin(write=True)

    def _renew(self, env: lmdb.Environment) -> None:
        """Take over a map that another process has grown; open LMDB anew where it refuses all further use.

        Raises StoreError if it cannot be opened; it is tried again at the next use.
        """
        with self._alone():
            if self._env is not env:
                return  # another thread did it
            if not self._must_reopen:
                try:
                    env.set_mapsize(0)
                    env.begin().abort()
                    return
                except lmdb.PanicError:
                    self._initial_map_bytes = env.info()["map_size"]
                    self._must_reopen = True
                    env.close()
            self._env, self._tables = self._open(self._initial_map_bytes)
            self._must_reopen = False

    def _make_room(self, value_bytes: int) -> None:
        info = self._env.info()
        used = (info["last_pgno"] + 1) * self._env.stat()["psize"]
        wanted = used + 2 * value_bytes + COMMIT_SLACK_BYTES
        size = info["map_size"]
        while size < wanted and size < self._max_map_bytes:
            size = min(2 * size, self._max_map_bytes)
        if size > info["map_size"]:
            with self._alone():
                self._env.set_mapsize(size)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While this process has no read transaction, and begins none."""
        with self._gate:
            while self._changing:
                self._gate.wait()
            self._changing = True
            while self._open_reads:
                self._gate.wait()
        try:
            yield
        finally:
            with self._gate:
                self._changing = False
                self._gate.notify_all()

    def check_readers(self) -> int:
        """Free the slots of reader processes that were killed; how many there were. Call it from a timer."""
        return self._env.reader_check()

    def page_use(self) -> PageUse:
        """What the pages are used for, at one moment; a commit that comes just then may be counted as free."""
        with self.read() as txn:
            stats = {name: txn.stat(self._tables[name]) for name in self._names}
            page_bytes = self._env.stat()["psize"]
            tables = {name: page_bytes * _pages(stat) for name, stat in stats.items()}
            own_bytes = page_bytes * (_META_PAGES + _pages(self._env.stat()))
            used_bytes = self.used_bytes
        free_bytes = max(0, used_bytes - own_bytes - sum(tables.values()))
        return PageUse({name: stat["entries"] for name, stat in stats.items()}, tables, own_bytes, free_bytes)

    def oldest_read(self) -> int:
        """How many commits ago the oldest view was taken that somebody, in any process, still looks at; 0: none.

        Pages that were freed since then cannot be used again, so the file grows.
        """
        lines = (line.split() for line in self._env.readers().splitlines())
        views = [int(fields[2]) for fields in lines if len(fields) == 3 and fields[2].isdecimal()]
        return max(0, self._env.info()["last_txnid"] - min(views)) if views else 0

    @property
    def file_bytes(self) -> int:
        """Bytes that the data file takes on disk."""
        return (self.path / "data.mdb").stat().st_blocks * 512

    @property
    def used_bytes(self) -> int:
        """Bytes of the map up to the last page that was ever used."""
        return (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]

    @property
    def map_bytes(self) -> int:
        """The most that the map can hold now, in bytes."""
        return self._env.info()["map_size"]

    def close(self) -> None:
        with self._alone():
            self._env.close()


def _pages(stat: Mapping[str, Any]) -> int:
    return int(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])


def put_all(
    txn: WriteTransaction, table: lmdb._Database, rows: Sequence[tuple[bytes, bytes]], *, append: bool = False
) -> None:
    """Put rows, with `append` in ascending order behind all keys there. StoreError if one was not taken: LMDB passes
    over a key that is out of order without a word."""
    if not rows:
        return
    if len(rows) == 1:  # every call lets go of the interpreter's lock, and a cursor takes three
        ((key, value),) = rows
        if not txn.put(key, value, append=append, db=table):
            raise StoreError("LMDB did not take a row: its key is not above those in the table")
        return
    with txn.cursor(table) as cursor:
        _, added = cursor.putmulti(rows, append=append)
    if added != len(rows):
        raise StoreError(f"LMDB took {added} of {len(rows)} rows: keys are not above those in the table")


def _make_durable_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(error: lmdb.Error | OSError, action: str) -> StoreError:
    code = error.errno if isinstance(error, OSError) else error.code
    if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)) or code in _FULL:
        return DiskFullError(
            f"the disk is full, or fails, while {action}: {error}. Nothing was changed; free some space"
        )
    return StoreError(f"LMDB failed while {action}: {error}. Nothing was changed")
