"""decision-provenance: a hash chain of decisions in SQLite; in process, unsigned. The nearest in purpose.

It records one decision at a time and has nothing for many. It sets `synchronous=NORMAL` with a write-ahead log, which
syncs nothing before it returns; here its connection is set to FULL, so that it is as durable as the others (strace:
one fdatasync a record, and those of checkpoints of the log). What it keeps of a decision's input and output are their
SHA-256; the request id goes where it has a place for one, in the session. Its `verify` reads the chain's links and not
what the records hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from benchmarks.peers.contract import Append, Case, Claims, Peer
from benchmarks.peers.pool import request_id_of

_REQUIREMENTS = ("decision-provenance==1.1.1",)


@contextmanager
def _serve(_environment: Path, folder: Path) -> Iterator[str]:
    yield str(folder / "provenance.db")


class _Store:
    def __init__(self, address: str) -> None:
        from decision_provenance import ProvenanceLogger

        self.version = metadata.version("decision-provenance")
        self._logger = ProvenanceLogger(model_id="benchmark", model_version="1", db_path=address)
        self._logger._conn.execute("PRAGMA synchronous=FULL")
        self._logger.init_chain(changed_by="benchmark", reason="benchmark")
        self._logger.set_config(
            threshold=0.5, above_label="yes", below_label="no", changed_by="benchmark", change_reason="benchmark"
        )
        (synchronous,) = self._logger._conn.execute("PRAGMA synchronous").fetchone()
        if synchronous != 2:
            raise RuntimeError(f"SQLite has synchronous={synchronous}")

    @contextmanager
    def caller(self, _case: Case) -> Iterator[Append]:
        yield self._append

    def _append(self, batch: Sequence[bytes]) -> None:
        (entry,) = batch
        self._logger.record(
            input_features={"entry": entry.hex()},
            output={"score": 0.75},
            score=0.75,
            session_id=request_id_of(entry).hex(),
        )

    def count(self) -> int:
        (count,) = self._logger._conn.execute("SELECT count(*) FROM records").fetchone()
        return int(count)

    def check(self) -> None:
        intact, said = self._logger.verify()
        if not intact:
            raise ValueError(said)

    def close(self) -> None:
        self._logger._conn.close()


PEER = Peer(
    name="decision-provenance",
    title="decision-provenance on SQLite, in process",
    claims=Claims(
        is_ledger=True,
        tamper_evidence="hash chain",
        signed=False,
        entry_proof="none",
        durability="synced (SQLite, WAL, synchronous=FULL; NORMAL is what it sets)",
        checks="counted after each run; its own verify at the end",
        request_ids_indexed=False,
        place="in process",
    ),
    cases=(Case("record", 1),),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
)
