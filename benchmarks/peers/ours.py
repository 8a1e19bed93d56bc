"""This ledger, measured as the peers are: the same entries, through a real `lineage serve` process, synced and indexed.

Sealed batches over the stream are what producers send; packing, hashing and signing them is the producers' work, done
beforehand here as by `benchmarks.load`. So that no work is left out of sight, `emit() to acknowledged` has all of it in
the time, in one Python process. Every acknowledgement is checked: the checkpoint's signature, the batch's place in it,
and where it says "proven" the batch's inclusion and the consistency of the tree with what was seen before.

After each run the indexes are waited for, outside of the time; how long that took is a figure of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import audited, load
from benchmarks.append import shape_of
from benchmarks.peers.callers import WrongCountError
from benchmarks.peers.contract import Case, Claims, Ran
from benchmarks.peers.entries import DURATION_US, INPUT, OUTPUT
from benchmarks.peers.pool import Pool, request_id_of
from benchmarks.served import Served, served
from lineage_ledger import Client, Emitter, Policy
from lineage_ledger._version import __version__
from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer
from lineage_ledger.formats import packed

NAME = "lineage-ledger"
TITLE = "Lineage Ledger"
CLAIMS = Claims(
    is_ledger=True,
    tamper_evidence="Merkle tree and chains of signed seals",
    signed=True,
    entry_proof="on request, verified by the client",
    durability="synced, under a signed checkpoint",
    checks="every acknowledgement: signed checkpoint, place; counted after each run; audit at the end",
    request_ids_indexed=True,
    place="server",
)
_INDEXED_S = 120.0
_FLUSH_S = 120.0


_BEFORE = {"client_work": "sealed beforehand"}
_PROVEN = {"proven": True, **_BEFORE}
_EMIT = Case("emit() to acknowledged", 4_096, params={"client_work": "in the time"})
CASES = (
    Case("batches of 4,096", 4_096, params=_BEFORE),
    Case("batches of 512", 512, params=_BEFORE),
    Case("batches of 64", 64, params=_BEFORE),
    Case("one entry, proven", 1, params=_PROVEN),
    Case("one entry, proven, 30 streams", 1, callers=30, params=_PROVEN),
    _EMIT,
)
# Runs are of a number of entries, because batches are sealed before: the first run of these, the others of as many as
# the last one took a second.
_FIRST_RATES = {
    "batches of 4,096": 800_000,
    "batches of 512": 500_000,
    "batches of 64": 150_000,
    "one entry, proven": 300,
    "one entry, proven, 30 streams": 2_000,
    _EMIT.name: 500_000,
}


class Ours:
    """A server of ours, measured from this process."""

    def __init__(self, server: Served, client: Client, pool: Pool) -> None:
        self.version = __version__
        self.indexed_after_s: dict[str, list[float]] = {}
        self._server = server
        self._client = client
        self._pool = pool
        self._rates: dict[str, float] = {**_FIRST_RATES}

    def run(self, case: Case, seconds: float) -> Ran:
        """One run of about so many seconds. Raises `WrongCountError`."""
        before = self._client.statistics().predictions
        entries = max(1, round(self._rates[case.name] * seconds))
        ran = self._emit(entries) if case is _EMIT else self._send(case, entries)
        indexed_after_s = self._wait_for_indexes()
        stored = self._client.statistics().predictions - before
        if stored != ran.entries:
            raise WrongCountError(f"{case.name}: {ran.entries:,} entries were acknowledged, {stored:,} are on record")
        if seconds:
            self._rates[case.name] = ran.rate
            self.indexed_after_s.setdefault(case.name, []).append(indexed_after_s)
        return ran

    def check(self) -> None:
        """Audits the data folder, rows and indexes included; ends the benchmark unless it passes."""
        _, checkpoint = self._client.signed_checkpoint()
        audited.must_pass(self._server.data, self._server.verifier_key, checkpoint)

    def _send(self, case: Case, entries: int) -> Ran:
        if case.batch == 1:
            # Each caller waits for its answer, as callers of peers do.
            shape = load.Shape(case.callers, 1, max(1, entries // case.callers), in_flight=1, prove=True)
        else:
            shape = replace(shape_of(case.batch, case.callers, entries), batches=max(1, entries // case.batch))
        sent = load.send(self._server, [self._chain(shape) for _ in range(shape.streams)], shape)
        return Ran(sent.entries, sent.seconds)

    def _chain(self, shape: load.Shape) -> load.Chain:
        sealer = ChainSealer(self._server.origin, self._server.key)
        batches = [sealer.open(None)]
        for _ in range(shape.batches):
            body, first = packed.pack(self._pool.take(shape.batch_entries)), sealer.next_number
            batches.append(
                sealer.seal(Cut(first, first + shape.batch_entries, body, shape.batch_entries, []), [bytes(32)])
            )
        return load.Chain(batches)

    def _emit(self, entries: int) -> Ran:
        ids = [request_id_of(entry) for entry in self._pool.take(min(entries, len(self._pool.entries)))]
        policy = Policy(when_full="block")
        with Emitter(
            self._server.address, ledger=self._server.verifier_key, key=self._server.key, policy=policy
        ) as emitter:
            emit = emitter.bind(bytes(32)).emit
            emit(INPUT, OUTPUT)
            emitter.flush(_FLUSH_S)
            start_s = time.perf_counter()
            for request_id in ids:
                emit(INPUT, OUTPUT, request_id=request_id, duration_us=DURATION_US)
            if not emitter.flush(_FLUSH_S) or emitter.statistics.lost:
                raise WrongCountError(f"not everything was acknowledged: {emitter.statistics}")
            return Ran(len(ids) + 1, time.perf_counter() - start_s)

    def _wait_for_indexes(self) -> float:
        start_s = time.monotonic()
        while (statistics := self._client.statistics()).indexed_size < statistics.tree_size:
            if time.monotonic() > start_s + _INDEXED_S:
                raise SystemExit(f"the indexes are behind after {_INDEXED_S:.0f} s: {statistics}")
            time.sleep(0.002)
        return time.monotonic() - start_s


@contextmanager
def opened(folder: Path, pool: Path, entry_bytes: int) -> Iterator[Ours]:
    """A server with its data in `folder`, ready to be measured."""
    with (
        served(folder / "ledger") as server,
        Client(f"unix:{server.data / 'admin.sock'}", ledger=server.verifier_key) as client,
    ):
        yield Ours(server, client, Pool(pool, entry_bytes))
