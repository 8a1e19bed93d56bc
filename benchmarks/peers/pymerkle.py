"""pymerkle: a Merkle tree in Python, its leaves in SQLite; in process, unsigned.

Set up at its best: SQLite's write-ahead log, which makes batches of 64 about twice as fast as the rollback journal that
it comes with; `synchronous=FULL`, so that each transaction is synced (strace: one fdatasync a transaction, and those
of checkpoints of the log). `append_entry` for one, `append_entries` for batches: its own bulk, one transaction.
Appending computes the hash of the leaf alone; the tree over the leaves is computed when a root or a proof is asked for,
so its cost is not in these figures.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from benchmarks.peers.contract import Append, Case, Claims, Peer

_REQUIREMENTS = ("pymerkle==7.0.0",)
_CHECKED = 4_096


@contextmanager
def _serve(_environment: Path, folder: Path) -> Iterator[str]:
    yield str(folder / "tree.db")


class _Store:
    def __init__(self, address: str) -> None:
        from pymerkle import SqliteTree

        self.version = metadata.version("pymerkle")
        self._tree = SqliteTree(address)
        (mode,) = self._tree.con.execute("PRAGMA journal_mode=WAL")
        self._tree.con.execute("PRAGMA synchronous=FULL")
        (synchronous,) = self._tree.con.execute("PRAGMA synchronous")
        if (mode, synchronous) != ("wal", 2):
            raise RuntimeError(f"SQLite is in mode {mode}, synchronous={synchronous}")

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        yield self._append_one if case.batch == 1 else self._tree.append_entries

    def _append_one(self, batch: Sequence[bytes]) -> None:
        (entry,) = batch
        self._tree.append_entry(entry)

    def count(self) -> int:
        return int(self._tree.get_size())

    def check(self) -> None:
        from pymerkle import verify_inclusion

        # Of the tree as it was then: there is no need to compute all of what became of it.
        size = min(self._tree.get_size(), _CHECKED)
        root = self._tree.get_root(size)
        for index in random.Random(size).sample(range(1, size + 1), min(size, 10)):
            proof = self._tree.prove_inclusion(index, size)
            verify_inclusion(self._tree.get_leaf(index), root, proof, index=index, size=size)

    def close(self) -> None:
        self._tree.close()


PEER = Peer(
    name="pymerkle",
    title="pymerkle on SQLite, in process",
    claims=Claims(
        is_ledger=True,
        tamper_evidence="Merkle tree",
        signed=False,
        entry_proof="on request",
        durability="synced (SQLite, WAL, synchronous=FULL)",
        checks="counted after each run; ten inclusion proofs at the end",
        request_ids_indexed=False,
        place="in process",
    ),
    cases=(
        Case("append_entries of 100,000", 100_000),
        Case("append_entries of 4,096", 4_096, quick=False),
        Case("append_entries of 64", 64),
        Case("append_entry", 1),
    ),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
)
