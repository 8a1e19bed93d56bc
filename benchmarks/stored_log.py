"""Large ledgers made fast, by the server's own sequencer in this process; predictions differ in request ids only."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path

from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer
from lineage_ledger.formats import admin, keys, packed, statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.check import check_batch
from lineage_ledger_server.sequencer.producers import check_admin_entry
from lineage_ledger_server.sequencer.submissions import Outcome, Work

ENTRY_BYTES = 104
# Of an entry as stored, with its leaf hash and its share of the tree, and again as much for pages LMDB keeps free.
_DISK_BYTES = 300
# Of a batch: its seal, its rows, and again as much.
_BATCH_DISK_BYTES = 1_500
_IN_FLIGHT = 64
_ORIGIN = "example.com/benchmark"


def check_free_disk(folder: Path, entries: int, batch_entries: int) -> None:
    """Ends the benchmark if a ledger of so many entries may not fit."""
    needed = entries * _DISK_BYTES + entries // batch_entries * _BATCH_DISK_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(f"{folder} has {free >> 20:,} MiB free; {entries:,} entries may need {needed >> 20:,} MiB")


def make(root: Path, entries: int, batch_entries: int) -> Verifier:
    """A ledger in the folder `root`, of at least so many entries in one chain; returns its verifier key.

    The predictions are of a model with its run, data, code and environment on record.
    """
    ledger = open_ledger(DataDir(root), origin=_ORIGIN)
    try:
        key = keys.SigningKey.generate()
        _register(ledger, key)
        sealer = ChainSealer(_ORIGIN, key)
        waiting: deque[Future[Outcome]] = deque()
        waiting.append(_submit(ledger, check_batch(sealer.open(None).packed or b"", _ORIGIN)))
        lineage = lineage_statements()
        deployment_hash = statement.statement_hash(lineage[-1])
        start = len(lineage)
        sealed = sealer.seal(Cut(0, start, packed.pack(lineage), start, []), [])
        for first in range(start, entries, batch_entries):
            waiting.append(_submit(ledger, check_batch(sealed.packed or b"", _ORIGIN)))
            if len(waiting) == _IN_FLIGHT:
                waiting.popleft().result(60)
            cut = Cut(first, first + batch_entries, _predictions(first, batch_entries), batch_entries, [])
            sealed = sealer.seal(cut, [deployment_hash])
        waiting.append(_submit(ledger, check_batch(sealed.packed or b"", _ORIGIN)))
        while waiting:
            waiting.popleft().result(60)
        return ledger.verifier
    finally:
        ledger.close()


def lineage_statements() -> list[bytes]:
    """Statements on the way from a prediction; the deployment is the last."""
    data, code, environment, model = (
        f"sha256:{hashlib.sha256(name).hexdigest()}" for name in (b"data", b"code", b"environment", b"model")
    )
    return [
        statement.artifact(kind="dataset", digest=data, name="loans", size_bytes=1_048_576),
        statement.artifact(kind="code", digest=code, name="training code"),
        statement.artifact(kind="environment", digest=environment, name="python 3.11"),
        statement.artifact(kind="model", digest=model, name="loan model", version="1"),
        statement.run(
            kind="training", name="train", inputs=[data], outputs=[model], code=code, environment=environment,
            parameters={"learning_rate": 0.1, "seed": 7},
        ),
        statement.deployment(name="loans", model=model, server="benchmark"),
    ]  # fmt: skip


def request_id(number: int) -> bytes:
    """Of the prediction with this number in its chain; no two are the same."""
    return number.to_bytes(16, "big")


def _predictions(first: int, count: int) -> bytes:
    """Packed. Only the request ids differ, so they are joined by what lies between two of them."""
    one = packed.pack([_prediction(first)])
    head, tail = one.split(request_id(first))
    return head + (tail + head).join([number.to_bytes(16, "big") for number in range(first, first + count)]) + tail


def _prediction(number: int) -> bytes:
    prediction = entry_pb2.Prediction(
        binding_row=1,
        request_id=request_id(number),
        input_commitment=hashlib.sha256(b"input").digest(),
        output_commitment=hashlib.sha256(b"output").digest(),
        start_time_unix_ns=time.time_ns(),
        duration_us=1_000,
    )
    return entry_pb2.Entry(prediction=prediction).SerializeToString()


def _register(ledger: Ledger, key: keys.SigningKey) -> None:
    _, admin_key = keys.read_signing_key(ledger.data_dir.admin_key)
    entry = admin.build_registration(
        _ORIGIN,
        public_key=key.public_key,
        name="benchmark",
        possession_signature=admin.prove_possession(_ORIGIN, key),
        time_unix_ns=time.time_ns(),
        admin_key=admin_key,
    )
    change = check_admin_entry(entry, "producer_registered", _ORIGIN, ledger.admin_public_keys)
    _submit(ledger, change).result(60)


def _submit(ledger: Ledger, work: Work) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    ledger.sequencer.submit(work, future.set_result)
    return future
