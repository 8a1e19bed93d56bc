"""MLflow's tracking store on SQLite: where people put what their models did. It is no ledger: rows can be changed.

In process, through `MlflowClient.log_batch`, which takes at most 1,000 metrics and 100 tags a call. Tags hold whole
entries, the request id as key and the entry in hexadecimal as value (parameters were slower); metrics hold a number
each, so that case keeps less than all others do. SQLite is as MLflow opens it: rollback journal, `synchronous=FULL`
(strace: four fdatasync a call, whatever it holds). The empty store is made once, at installation, because its
migrations take seconds. Telemetry is switched off.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.contract import Append, Case, Claims, Peer
from benchmarks.peers.pool import request_id_of

_REQUIREMENTS = ("mlflow-skinny==3.17.2", "sqlalchemy==2.1.9", "alembic==1.20.1")
_EMPTY = "empty.db"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_METRICS = "log_batch of 1,000 metrics (a number each)"


def _install(environment: Path) -> None:
    empty = environment / _EMPTY
    empty.unlink(missing_ok=True)
    script = f"from mlflow import MlflowClient; MlflowClient('sqlite:///{empty}').create_experiment('benchmark')"
    environments.call([environments.python_of(environment), "-c", script], **_QUIET)


@contextmanager
def _serve(environment: Path, folder: Path) -> Iterator[str]:
    shutil.copyfile(environment / _EMPTY, folder / "mlflow.db")
    yield str(folder / "mlflow.db")


class _Store:
    def __init__(self, address: str) -> None:
        os.environ.update(_QUIET)
        import mlflow

        self.version = mlflow.__version__
        self._client = mlflow.MlflowClient(f"sqlite:///{address}")
        experiment = self._client.get_experiment_by_name("benchmark")
        self._run_id = self._client.create_run(experiment.experiment_id).info.run_id
        self._rows = sqlite3.connect(address)
        self._tags_before = self._count_of("tags")
        self._step = 0

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        yield self._log_metrics if case.name == _METRICS else self._log_tags

    def _log_tags(self, batch: Sequence[bytes]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(request_id_of(entry).hex(), entry.hex()) for entry in batch]
        self._client.log_batch(self._run_id, tags=tags, synchronous=True)

    def _log_metrics(self, batch: Sequence[bytes]) -> None:
        from mlflow.entities import Metric

        now_ms, step = time.time_ns() // 1_000_000, self._step
        metrics = [Metric("score", 0.75, now_ms, step + place) for place in range(len(batch))]
        self._client.log_batch(self._run_id, metrics=metrics, synchronous=True)
        self._step += len(batch)

    def count(self) -> int:
        return self._count_of("tags") - self._tags_before + self._count_of("metrics")

    def _count_of(self, table: str) -> int:
        (count,) = self._rows.execute(f"SELECT count(*) FROM {table} WHERE run_uuid = ?", (self._run_id,)).fetchone()
        return int(count)

    def check(self) -> None:
        """It has nothing to check with."""

    def close(self) -> None:
        self._rows.close()


PEER = Peer(
    name="mlflow",
    title="MLflow tracking store on SQLite, in process (not a ledger)",
    claims=Claims(
        is_ledger=False,
        tamper_evidence="none",
        signed=False,
        entry_proof="none",
        durability="synced (SQLite, rollback journal, synchronous=FULL)",
        checks="counted after each run",
        request_ids_indexed=True,
        place="in process",
    ),
    cases=(
        Case(_METRICS, 1_000, params={"stored": "a number of each, not the entry"}),
        Case("log_batch of 100 tags", 100),
        Case("log_batch of 64 tags", 64, quick=False),
        Case("log_batch of 1 tag", 1),
    ),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
    install=_install,
)
