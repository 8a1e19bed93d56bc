"""The emitter against a ledger that checks everything, and that can be made to fail."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineage_ledger import emit_kernel
from lineage_ledger.emitter import (
    Emitter,
    EmitterClosedError,
    EmitterError,
    EmitterFullError,
    NotAcknowledgedError,
    Policy,
    WhenFull,
)
from lineage_ledger.errors import (
    InvalidKeyError,
    MalformedEntryError,
    MalformedError,
    RollbackError,
    SettingsError,
    VerificationError,
)
from lineage_ledger.formats import merkle, seal
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.v1 import append_pb2, entry_pb2
from tests.emitter.fake_ledger import ORIGIN, FakeLedger

pytestmark = pytest.mark.usefixtures("kind")
MakeEmitter = Callable[..., Emitter]
DEPLOYMENT = hashlib.sha256(b"deployment").digest()
OUTPUT = hashlib.sha256(b"output").digest()


def _input(worker: int, place: int) -> bytes:
    return hashlib.sha256(b"%d/%d" % (worker, place)).digest()


def _artifact(name: str) -> entry_pb2.Entry:
    digest = entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=hashlib.sha256(name.encode()).digest())
    return entry_pb2.Entry(artifact=entry_pb2.Artifact(kind=entry_pb2.ARTIFACT_KIND_DATASET, digest=digest, name=name))


def _wait(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.005)


def test_every_id_of_sixteen_threads_leads_to_its_own_payload(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(when_full=WhenFull.BLOCK)
    bindings = [emitter.bind(hashlib.sha256(b"%d" % row).digest()) for row in range(3)]
    ids: list[dict[PredictionId, bytes]] = [{} for _ in range(16)]

    def work(worker: int) -> None:
        for place in range(1_000):
            commitment = _input(worker, place)
            binding = bindings[place % 3]
            ids[worker][binding.emit(commitment, OUTPUT, request_id=b"%d" % place, duration_us=place)] = commitment

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emitter.close(20)
    logged = ledger.resolver()
    assert len(logged) == 16_000 == sum(map(len, ids))
    for mine in ids:
        for prediction_id, commitment in mine.items():
            assert logged[prediction_id].input_commitment == commitment
    bodies = ledger.bodies()
    assert [body.batch_sequence for body in bodies] == list(range(len(bodies)))
    assert bodies[0].count == 0 and bodies[-1].closing and not any(body.lost for body in bodies)
    statistics = emitter.statistics
    assert (statistics.emitted, statistics.acknowledged, statistics.lost, statistics.pending) == (16_000, 16_000, 0, 0)


def test_a_prediction_is_logged_as_it_was_emitted(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    before_ns = time.time_ns()
    failed = emitter.bind(DEPLOYMENT).emit(_input(0, 0), status_code=13)
    full = emitter.bind(DEPLOYMENT).emit(
        _input(0, 1), OUTPUT, request_id=b"r" * 64, start_time_unix_ns=77, duration_us=1 << 40
    )
    assert emitter.flush(5)
    prediction = ledger.resolve(failed)
    assert prediction is not None
    assert before_ns <= prediction.start_time_unix_ns <= time.time_ns()
    assert (prediction.status_code, prediction.output_commitment) == (13, b"")
    assert ledger.resolve(full) == entry_pb2.Prediction(
        binding_row=1,
        request_id=b"r" * 64,
        input_commitment=_input(0, 1),
        output_commitment=OUTPUT,
        start_time_unix_ns=77,
        duration_us=(1 << 32) - 1,
    )
    assert ledger.bodies()[-1].bindings == [entry_pb2.Binding(deployment_hash=DEPLOYMENT, count=2)]


def test_the_same_deployment_gives_the_same_binding(make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    digest = entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=OUTPUT)
    entry = entry_pb2.Entry(deployment=entry_pb2.Deployment(name="d", model=digest)).SerializeToString()
    first = emitter.bind(entry)
    assert emitter.bind(merkle.leaf_hash(entry)) is first and first.row == 1
    assert emitter.bind(DEPLOYMENT).row == 2
    with pytest.raises(MalformedEntryError, match="deployment"):
        emitter.bind(_artifact("x").SerializeToString())
    for row in range(3, 256):
        emitter.bind(hashlib.sha256(b"%d" % row).digest())
    with pytest.raises(EmitterError, match="at most 255"):
        emitter.bind(hashlib.sha256(b"one more").digest())


def test_a_statement_is_appended_when_append_returns(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    for place in range(10):
        binding.emit(_input(0, place), OUTPUT)
    logged = emitter.append(_artifact("a"))
    assert merkle.leaf_hash(ledger.entries[logged.index]) == logged.leaf_hash
    assert ledger.entries[logged.index] == _artifact("a").SerializeToString()
    prediction = entry_pb2.Entry(prediction=entry_pb2.Prediction(binding_row=1)).SerializeToString()
    for refused in (prediction, b"", b"\x0a", ledger.entries[0]):
        with pytest.raises(MalformedEntryError):
            emitter.append(refused)


def test_lost_acknowledgements_and_connections_leave_each_batch_once(
    ledger: FakeLedger, make_emitter: MakeEmitter
) -> None:
    ledger.faults.lose_acknowledgement = lambda batches: batches % 3 == 0
    ledger.faults.drop_before = lambda batches: batches % 5 == 0
    emitter = make_emitter(max_batch_entries=50, when_full="block")
    binding = emitter.bind(DEPLOYMENT)
    ids = [binding.emit(_input(0, place), OUTPUT) for place in range(1_500)]
    assert emitter.close(20)
    logged = ledger.resolver()
    assert [logged[prediction_id].input_commitment for prediction_id in ids] == [_input(0, p) for p in range(1_500)]
    assert len(logged) == 1_500 and ledger.duplicates > 0
    assert emitter.statistics.acknowledged == 1_500


def test_drops_are_lost_numbers_that_are_sealed(
    ledger: FakeLedger, make_emitter: MakeEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.faults.delay_s = 0.02
    emitter = make_emitter(max_pending_entries=64, max_batch_entries=16, max_unacknowledged_bytes=128 * 1024)
    binding = emitter.bind(DEPLOYMENT)
    ids = {binding.emit(_input(0, place), OUTPUT): _input(0, place) for place in range(30_000)}
    ledger.faults.delay_s = 0.0
    assert emitter.close(20)
    logged = ledger.resolver()
    statistics = emitter.statistics
    assert 0 < statistics.lost < 30_000 and statistics.acknowledged == len(logged) == 30_000 - statistics.lost
    assert sum(lost.count for body in ledger.bodies() for lost in body.lost) == statistics.lost
    for prediction_id in list(ids)[:300] + list(ids)[-300:]:
        prediction = ledger.resolve(prediction_id)
        assert (prediction is None) == (prediction_id not in logged)
    assert all(ids[prediction_id] == prediction.input_commitment for prediction_id, prediction in logged.items())
    assert any("are lost" in record.message for record in caplog.records)


def test_with_the_server_away_nothing_fails_and_memory_stays_bounded(make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(target="127.0.0.1:1", max_pending_entries=1_024, max_unacknowledged_bytes=256 * 1024)
    binding = emitter.bind(DEPLOYMENT)
    for place in range(50_000):
        binding.emit(_input(0, 0), OUTPUT, duration_us=place)
        if place % 5_000 == 0:
            time.sleep(0.03)
    statistics = emitter.statistics
    assert statistics.unacknowledged_bytes < 2 * 1024 * 1024 and statistics.lost > 20_000
    assert not emitter.flush(0.05)
    _wait(lambda: emitter.statistics.last_error is not None)
    assert "127.0.0.1:1" in (emitter.statistics.last_error or "")
    assert not emitter.close(0.1)


def test_the_server_comes_back_and_gets_everything(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    ids = [binding.emit(_input(0, 0), OUTPUT)]
    assert emitter.flush(5)
    ledger.stop()
    ids += [binding.emit(_input(0, place), OUTPUT) for place in range(1, 100)]
    assert not emitter.flush(0.1)
    ledger.start()
    assert emitter.flush(10)
    assert set(ids) == set(ledger.resolver())


def test_a_key_that_is_refused_is_tried_again(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    ledger.faults.refuse = lambda body: (grpc.StatusCode.PERMISSION_DENIED, "UNKNOWN_KEY")
    emitter = make_emitter()
    prediction_id = emitter.bind(DEPLOYMENT).emit(_input(0, 0), OUTPUT)
    _wait(lambda: emitter.statistics.last_error is not None)
    assert not emitter.flush(0.05)
    with pytest.raises(NotAcknowledgedError, match="as the test asked"):
        emitter.append(_artifact("a"), timeout_s=0.1)
    ledger.faults.refuse = lambda body: None
    assert emitter.flush(5)
    assert ledger.resolve(prediction_id) is not None


@pytest.mark.parametrize(
    ("status", "reason"),
    [(grpc.StatusCode.ABORTED, "SEQUENCE_CONFLICT"), (grpc.StatusCode.FAILED_PRECONDITION, "CHAIN_ENDED")],
)
def test_after_the_end_of_its_chain_it_goes_on_in_another(
    ledger: FakeLedger, make_emitter: MakeEmitter, status: grpc.StatusCode, reason: str
) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    first = binding.emit(_input(0, 0), OUTPUT)
    assert emitter.flush(5)
    ledger.faults.refuse = lambda body: (status, reason) if body.chain_id == first.chain_id else None
    lost = binding.emit(_input(0, 1), OUTPUT)
    _wait(lambda: emitter.statistics.lost == 1)
    _wait(lambda: binding.emit(_input(0, 2), OUTPUT).chain_id != first.chain_id)
    assert emitter.flush(5)
    successor = ledger.bodies()[-1].chain_id
    assert ledger.bodies(successor)[0].predecessor == entry_pb2.Predecessor(chain_id=first.chain_id, next_number=2)
    with pytest.raises(KeyError):
        ledger.resolve(lost)


def test_a_hole_ends_the_chain_and_is_declared_lost(
    ledger: FakeLedger, make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emit_kernel, "KERNEL", "python")  # In C there are none.
    emitter = make_emitter(hole_timeout_s=0.1)
    binding = emitter.bind(DEPLOYMENT)
    before = binding.emit(_input(0, 0), OUTPUT)
    ring: Any = emitter._lane.ring
    hole = ring.take()  # As a thread does that dies before it fills the slot.
    behind = binding.emit(_input(0, 2), OUTPUT)
    _wait(lambda: emitter._lane.ring is not ring)
    after = binding.emit(_input(0, 3), OUTPUT)
    assert emitter.flush(5)
    assert ledger.resolve(before) is not None and ledger.resolve(behind) is not None
    assert ledger.resolve(PredictionId(ring.chain_id, hole, b"\0" * 4)) is None
    assert after.chain_id != ring.chain_id and ledger.resolve(after) is not None
    assert ledger.bodies(ring.chain_id)[-1].closing
    assert ledger.bodies(after.chain_id)[0].predecessor.next_number == 3
    # The thread was slow, not dead: what it still places must not vanish.
    chain_id, number = emitter._settle(ring, b"\0\1x", ring.settle(hole))
    assert chain_id == after.chain_id and number == 1


@pytest.mark.parametrize("mutation", ["chain", "sequence", "index", "small", "signature", "promise"])
def test_a_server_that_lies_is_not_believed(ledger: FakeLedger, make_emitter: MakeEmitter, mutation: str) -> None:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        said = response.acknowledgements[0]
        if mutation == "chain":
            said.chain_id = bytes(16)
        elif mutation == "sequence":
            said.batch_sequence += 1
        elif mutation == "index":
            said.first_index += 1
        elif mutation == "small":
            said.first_index += 1_000
            said.seal_index += 1_000
        elif mutation == "signature":
            response.checkpoint = response.checkpoint[:-8] + b"AAAAAA=\n"
        else:
            said.promise = append_pb2.PROMISE_DURABLE

    ledger.faults.tamper = tamper
    emitter = make_emitter()
    emitter.bind(DEPLOYMENT).emit(_input(0, 0), OUTPUT)
    _wait(lambda: emitter.statistics.last_error is not None)
    if mutation == "promise":
        assert not emitter.flush(0.05)  # It says less than it should, which is no lie.
    else:
        with pytest.raises((VerificationError, MalformedError)):
            emitter.flush(0.05)
    assert emitter.statistics.acknowledged == 0 and (emitter.statistics.mismatches > 0) == (mutation != "promise")
    ledger.faults.tamper = lambda response: None
    _wait(lambda: emitter.statistics.acknowledged == 1)
    assert emitter.flush(5)


def test_an_older_tree_is_reported(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    old: list[bytes] = []
    ledger.faults.tamper = lambda response: old.append(response.checkpoint)
    binding.emit(_input(0, 0), OUTPUT)
    assert emitter.flush(5)

    def rewind(response: append_pb2.AppendStreamResponse) -> None:
        response.checkpoint = old[0]

    ledger.faults.tamper = rewind
    binding.emit(_input(0, 1), OUTPUT)
    _wait(lambda: emitter.statistics.last_error is not None)
    with pytest.raises(RollbackError, match="put back from an old copy"):
        emitter.flush(0.05)


def test_what_is_no_prediction_is_lost_and_logged(
    ledger: FakeLedger, make_emitter: MakeEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    with caplog.at_level(logging.ERROR):
        wrong = [
            binding.emit(b"short", OUTPUT),
            binding.emit(_input(0, 0)),
            binding.emit(_input(0, 0), OUTPUT, request_id=bytes(65)),
            binding.emit(_input(0, 0), OUTPUT, start_time_unix_ns=-1),
            binding.emit("text", OUTPUT),  # type: ignore[arg-type]  # what a caller without types does
        ]
    right = binding.emit(_input(0, 1), OUTPUT)
    assert emitter.flush(5)
    assert [ledger.resolve(prediction_id._replace(input_prefix=bytes(4))) for prediction_id in wrong] == [None] * 5
    assert ledger.resolve(right) is not None and emitter.statistics.lost == 5
    assert sum("malformed prediction" in record.message for record in caplog.records) == 1


def test_fail_closed_raises_what_happened(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    ledger.stop()
    emitter = make_emitter(fail_closed=True, max_pending_entries=16, max_unacknowledged_bytes=128 * 1024)
    binding = emitter.bind(DEPLOYMENT)
    with pytest.raises(MalformedEntryError, match="input_commitment"):
        binding.emit(b"short", OUTPUT)
    with pytest.raises(EmitterFullError, match="declared lost"):
        for place in range(100_000):
            binding.emit(_input(0, place), OUTPUT)
    emitter.close(0)
    with pytest.raises(EmitterClosedError):
        binding.emit(_input(0, 0), OUTPUT)
    with pytest.raises(EmitterClosedError):
        emitter.append(_artifact("a"))


def test_a_closed_emitter_fails_no_prediction(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter()
    binding = emitter.bind(DEPLOYMENT)
    binding.emit(_input(0, 0), OUTPUT)
    assert emitter.close(5) and emitter.close(5)
    assert binding.emit(_input(0, 1), OUTPUT).number > 0
    assert len(ledger.resolver()) == 1
    assert "not on record" in (emitter.statistics.last_error or "")


def test_an_idle_emitter_says_that_nothing_is_missing(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(heartbeat_s=0.05)
    emitter.bind(DEPLOYMENT).emit(_input(0, 0), OUTPUT)
    _wait(lambda: len(ledger.bodies()) >= 5)
    assert [body.count for body in ledger.bodies()[2:5]] == [0, 0, 0]


def test_an_emitter_that_emits_nothing_opens_no_chain(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    assert make_emitter().close(1)
    assert not ledger.entries


def test_settings_that_cannot_be(ledger: FakeLedger, tmp_path: Path) -> None:
    key = SigningKey.generate()
    wrongs: list[dict[str, Any]] = [
        {"linger_ms": -1},
        {"max_batch_entries": seal.MAX_BATCH_ENTRIES + 1},
        {"when_full": "burn"},
    ]
    for wrong in wrongs:
        with pytest.raises(SettingsError):
            Policy(**wrong)
    with pytest.raises(SettingsError, match="needs a spool"):
        Emitter(ledger.target, ledger=ledger.vkey, key=key, policy=Policy(when_full=WhenFull.SPOOL))
    with pytest.raises(InvalidKeyError):
        Emitter(ledger.target, ledger="no key", key=key)
    assert Emitter(ledger.target, ledger=ledger.vkey, key=key).origin == ORIGIN


def test_large_statements_are_split_over_batches(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    emitter = make_emitter(max_batch_bytes=128 * 1024)
    entry = _artifact("big")
    for place in range(15):
        entry.artifact.attributes.add(name=f"{place:02}", value="v" * 4_000)
    threads = [threading.Thread(target=emitter.append, args=(entry,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emitter.statistics.acknowledged == 8
    assert max(body.count for body in ledger.bodies()) <= 2
