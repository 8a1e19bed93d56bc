"""A peer that every machine has: SQLite, from Python's own library. Its server is a program that only waits.

What its folder is called says what is wrong with it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.contract import Append, Case, Claims, NotRunError, Peer
from benchmarks.peers.processes import running

_WAITING = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


@contextmanager
def _serve(_environment: Path, folder: Path) -> Iterator[str]:
    if folder.name == "nowhere":
        raise NotRunError("it is not to be had here")
    print("noise on standard output")
    pid = folder / "pid"
    with running(
        [sys.executable, "-c", _WAITING, pid],
        log=folder / "server.log",
        ready=lambda: pid.exists() and pid.stat().st_size > 0,
    ):
        yield str(folder / "entries.db")


class _Store:
    version = sqlite3.sqlite_version

    def __init__(self, address: str) -> None:
        self._path = Path(address)
        self._rows = self._open()
        self._rows.execute("CREATE TABLE entries (entry BLOB NOT NULL)")
        self._rows.commit()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30, check_same_thread=False)

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        rows = self._open()

        def append(batch: Sequence[bytes]) -> None:
            kept = batch[1:] if self._path.parent.name == "forgetful" else batch
            rows.executemany("INSERT INTO entries VALUES (?)", [(entry,) for entry in kept])
            rows.commit()
            if self._path.parent.name == "failing":
                raise OSError("the disk is gone")
            if self._path.parent.name == "dying":
                print("killed by a test", file=sys.stderr, flush=True)
                os._exit(1)

        yield append
        rows.close()

    def count(self) -> int:
        (count,) = self._rows.execute("SELECT count(*) FROM entries").fetchone()
        return int(count)

    def check(self) -> None:
        if self._path.parent.name == "broken":
            raise ValueError("the chain is broken")

    def close(self) -> None:
        self._rows.close()


PEER = Peer(
    name="sqlite",
    title="SQLite",
    claims=Claims(
        is_ledger=False,
        tamper_evidence="none",
        signed=False,
        entry_proof="none",
        durability="synced",
        checks="counted",
        request_ids_indexed=False,
        place="in process",
    ),
    cases=(Case("many", 64), Case("one", 1, callers=3)),
    requirements=(),
    serve=_serve,
    connect=_Store,
)
