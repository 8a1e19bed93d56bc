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
from dataclasses import dataclass
from pathlib import Path

from benchmarks import audited, load
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
    request_ids_indexed=True,
    place="server",
)
_INDEXED_S = 120.0
_FLUSH_S = 120.0


@dataclass(frozen=True, slots=True)
class _Load:
    """How a case is sent. Runs are of a number of batches, because batches are sealed before; so many in a second."""

    case: Case
    batches_per_s: int
    """Of each stream, in the first run; after it, what the last one came to."""
    in_flight: int = 8
    per_message: int = 1
    prove: bool = False


_EMIT = Case("emit() to acknowledged", 4_096, params={"client_work": "in the time"})
_EMIT_PER_S = 700_000
_BEFORE = {"client_work": "sealed beforehand"}
_LOADS = {
    each.case.name: each
    for each in (
        _Load(Case("batches of 4,096", 4_096, params=_BEFORE), 250),
        _Load(Case("batches of 512", 512, params=_BEFORE), 1_200, in_flight=32, per_message=8),
        _Load(Case("batches of 64", 64, params=_BEFORE), 3_000, in_flight=64, per_message=16),
        _Load(Case("one entry, proven", 1, params={"proven": True, **_BEFORE}), 300, in_flight=1, prove=True),
        _Load(
            Case("one entry, proven, 30 streams", 1, callers=30, params={"proven": True, **_BEFORE}),
            100, in_flight=1, prove=True,
        ),
    )
}  # fmt: skip
CASES = (*(each.case for each in _LOADS.values()), _EMIT)


class Ours:
    """A server of ours, measured from this process."""

    def __init__(self, server: Served, client: Client, pool: Pool) -> None:
        self.version = __version__
        self.indexed_after_s: dict[str, list[float]] = {}
        self._server = server
        self._client = client
        self._pool = pool
        self._batches_per_s: dict[str, float] = {}

    def run(self, case: Case, seconds: float) -> Ran:
        """One run of about so many seconds. Raises `WrongCountError`."""
        before = self._client.statistics().predictions
        ran = self._emit(seconds) if case is _EMIT else self._send(_LOADS[case.name], seconds)
        indexed_after_s = self._wait_for_indexes()
        stored = self._client.statistics().predictions - before
        if stored != ran.entries:
            raise WrongCountError(f"{case.name}: {ran.entries:,} entries were acknowledged, {stored:,} are on record")
        if seconds:
            self.indexed_after_s.setdefault(case.name, []).append(indexed_after_s)
        return ran

    def check(self) -> None:
        """Audits the data folder, rows and indexes included; ends the benchmark unless it passes."""
        _, checkpoint = self._client.signed_checkpoint()
        audited.must_pass(self._server.data, self._server.verifier_key, checkpoint)

    def _send(self, told: _Load, seconds: float) -> Ran:
        batches = max(1, round(self._batches_per_s.get(told.case.name, told.batches_per_s) * seconds))
        shape = load.Shape(
            told.case.callers, told.case.batch, batches, told.in_flight, told.per_message, prove=told.prove
        )
        sent = load.send(self._server, [self._chain(shape) for _ in range(shape.streams)], shape)
        if seconds:
            self._batches_per_s[told.case.name] = batches / sent.seconds
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

    def _emit(self, seconds: float) -> Ran:
        ids = [request_id_of(entry) for entry in self._pool.take(max(1, round(_EMIT_PER_S * seconds)))]
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
