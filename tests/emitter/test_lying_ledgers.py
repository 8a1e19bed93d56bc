"""Ledgers that lie in their acknowledgements: the application is told, and nothing counts as acknowledged."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lineage_ledger.emitter import Backoff, Emitter, EmitterError, Policy, Statistics
from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    HistoryError,
    OtherOriginError,
    RollbackError,
    SettingsError,
    VerificationError,
)
from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.v1 import append_pb2
from tests.emitter.fake_ledger import ORIGIN, FakeLedger, Tree

MakeEmitter = Callable[..., Emitter]
Tamper = Callable[[append_pb2.AppendStreamResponse], None]
SLOW = Backoff(least_s=0.01, most_s=0.1, refused_s=60.0)


def _wait(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to pass"
        time.sleep(0.005)


def _emit(emitter: Emitter, count: int = 5) -> None:
    binding = emitter.bind(bytes(32))
    for place in range(count):
        binding.emit(place.to_bytes(32, "big"), bytes(32))


def _start(ledger: FakeLedger, emitter: Emitter, batches: int = 3) -> None:
    """Some batches that are acknowledged truthfully."""
    for _ in range(batches):
        _emit(emitter)
        assert emitter.flush(5)
    assert emitter.statistics.mismatches == 0


class Forked:
    """Another history that goes on from the first `kept` entries of the ledger's, in all that it says consistent.

    It has, in their places, as many entries as the ledger has, none of them the emitter's newest batch.
    """

    def __init__(self, ledger: FakeLedger, kept: int) -> None:
        self._ledger, self._kept = ledger, kept

    def __call__(self, response: append_pb2.AppendStreamResponse) -> None:
        tree, ledger = Tree(), self._ledger
        tree.grow(b"".join(merkle.leaf_hash(entry) for entry in ledger.entries[: self._kept]))
        tree.grow(b"".join(merkle.leaf_hash(b"other" + entry) for entry in ledger.entries[self._kept :]))
        response.checkpoint = Checkpoint(ORIGIN, tree.size, merkle.root_of(tree.size, tree)).sign(ledger.signer)
        for said in response.acknowledgements:
            said.range_proof[:] = merkle.range_proof(said.first_index, said.seal_index + 1, tree.size, tree)
        if self._kept and response.consistency_proof:
            response.consistency_proof[:] = merkle.consistency_proof(self._kept, tree.size, tree)


def test_an_honest_ledger_is_believed_across_connections_and_its_checkpoint_kept(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    emitter = make_emitter(checkpoint_file=file)
    _start(ledger, emitter)
    ledger.stop()
    _emit(emitter)
    ledger.start()
    assert emitter.flush(5) and emitter.close(5)
    assert emitter.statistics.mismatches == 0
    kept = Checkpoint.open(file.read_bytes(), Verifier.parse(ledger.vkey))
    assert (kept.size, kept.root) == (ledger.tree.size, merkle.root_of(ledger.tree.size, ledger.tree))
    successor = make_emitter(checkpoint_file=file)
    _start(ledger, successor)
    assert successor.close(5)
    assert Checkpoint.open(file.read_bytes(), Verifier.parse(ledger.vkey)).size > kept.size


def test_a_batch_is_acknowledged_on_a_fork_which_the_next_checkpoint_gives_away(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    emitter = make_emitter(checkpoint_file=file)
    _start(ledger, emitter)
    known = ledger.checkpoint()
    ledger.faults.tamper = Forked(ledger, kept=2)
    _emit(emitter)
    with pytest.raises(ForkError) as told:
        emitter.flush(5)
    assert told.value.evidence[0] == known
    older, newer = (Checkpoint.open(signed, Verifier.parse(ledger.vkey)) for signed in told.value.evidence)
    assert older.size < newer.size
    assert told.value.folder is not None and (told.value.folder / "older.txt").read_bytes() == known
    assert (told.value.folder / "newer.txt").read_bytes() == told.value.evidence[1]
    assert emitter.statistics.pending == 5 and emitter.statistics.mismatches >= 1
    ledger.faults.tamper = lambda response: None
    with pytest.raises(ForkError):
        emitter.flush(1)  # An honest answer does not undo a fork: somebody must look at the evidence.
    assert emitter.statistics.acknowledged == 15


def test_a_batch_is_left_out_of_a_tree_that_goes_on_and_acknowledged(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    emitter = make_emitter(checkpoint_file=tmp_path / "checkpoint")
    _start(ledger, emitter)
    known = ledger.checkpoint()
    ledger.faults.tamper = Forked(ledger, kept=ledger.tree.size)
    _emit(emitter)
    with pytest.raises(HistoryError, match="does not show that its tree") as told:
        emitter.flush(5)
    assert told.value.evidence[0] == known and len(told.value.evidence) == 2
    assert told.value.folder is not None and (told.value.folder / "newer.txt").read_bytes() == told.value.evidence[1]
    assert emitter.statistics.acknowledged == 15 and emitter.statistics.pending == 5


def _another_range(ledger: FakeLedger) -> Tamper:
    """The range of the batch before, of as many entries, with an honest proof of that."""

    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        size = Checkpoint.open(response.checkpoint, Verifier.parse(ledger.vkey)).size
        for said in response.acknowledgements:
            count = said.seal_index - said.first_index
            said.first_index -= count + 1
            said.seal_index -= count + 1
            said.range_proof[:] = merkle.range_proof(said.first_index, said.seal_index + 1, size, ledger.tree)

    return tamper


def _shifted(ledger: FakeLedger) -> Tamper:
    """The honest proof, said to be of the entries one further on the left."""

    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        for said in response.acknowledgements:
            said.first_index -= 1
            said.seal_index -= 1

    return tamper


def _other_size(ledger: FakeLedger) -> Tamper:
    """A range proof in the tree without the newest entry's right neighbour."""

    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        for said in response.acknowledgements:
            end = said.seal_index + 1
            ledger.tree.grow(merkle.leaf_hash(b"one more"))
            said.range_proof[:] = merkle.range_proof(said.first_index, end, ledger.tree.size, ledger.tree)

    return tamper


def _no_range_proof(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        for said in response.acknowledgements:
            del said.range_proof[:]

    return tamper


def _long_range_proof(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        for said in response.acknowledgements:
            said.range_proof.extend([bytes(32)] * 100_000)

    return tamper


def _no_consistency_proof(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        del response.consistency_proof[:]

    return tamper


def _garbage_consistency_proof(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        response.consistency_proof[:] = [bytes(32) for _ in response.consistency_proof]

    return tamper


def _short_hashes(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        response.consistency_proof[:] = [value[:-1] for value in response.consistency_proof]

    return tamper


def _another_origin(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        signer = Signer("ledger.test/other", ledger.signer.key)
        honest = Checkpoint.open(response.checkpoint, Verifier.parse(ledger.vkey))
        response.checkpoint = Checkpoint("ledger.test/other", honest.size, honest.root).sign(signer)

    return tamper


def _another_key(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        honest = Checkpoint.open(response.checkpoint, Verifier.parse(ledger.vkey))
        response.checkpoint = honest.sign(Signer(ORIGIN, SigningKey.generate()))

    return tamper


def _no_such_promise(ledger: FakeLedger) -> Tamper:
    def tamper(response: append_pb2.AppendStreamResponse) -> None:
        for said in response.acknowledgements:
            said.ClearField("promise")

    return tamper


@pytest.mark.parametrize(
    "lie",
    [
        _another_range,
        _shifted,
        _other_size,
        _no_range_proof,
        _long_range_proof,
        _no_consistency_proof,
        _garbage_consistency_proof,
        _short_hashes,
        _another_origin,
        _another_key,
        _no_such_promise,
    ],
)
def test_a_lie_reaches_the_application_and_nothing_is_let_go_of(
    ledger: FakeLedger,
    make_emitter: MakeEmitter,
    tmp_path: Path,
    lie: Callable[[FakeLedger], Tamper],
) -> None:
    emitter = make_emitter(spool=tmp_path / "spool", backoff=SLOW)
    told: list[Exception] = []
    emitter._reporter._on_error = told.append
    _start(ledger, emitter)
    honest_size = len(ledger.entries)
    ledger.faults.tamper = lie(ledger)
    _emit(emitter)
    with pytest.raises(VerificationError) as raised:
        emitter.flush(5)
    assert raised.value in told
    statistics: Statistics = emitter.statistics
    assert (statistics.acknowledged, statistics.pending, statistics.lost) == (15, 5, 0)
    assert statistics.mismatches == 1 and statistics.last_error == str(raised.value)
    assert len(ledger.entries) > honest_size, "the ledger has it; it is its answer that was refused"
    assert emitter.bind(bytes(32)).emit(bytes(32), bytes(32)), "the serving path goes on"
    received = ledger.received
    time.sleep(0.15)
    assert ledger.received == received, "it is not sent again in a hurry"
    assert statistics.spool_bytes > 0
    emitter.close(0.01)


def test_what_was_refused_is_sent_again_and_counts_once_it_is_proven(
    ledger: FakeLedger, make_emitter: MakeEmitter
) -> None:
    emitter = make_emitter()
    _start(ledger, emitter)
    ledger.faults.tamper = _no_range_proof(ledger)
    _emit(emitter)
    with pytest.raises(HistoryError):
        emitter.flush(5)
    ledger.faults.tamper = lambda response: None
    _wait(lambda: emitter.statistics.acknowledged == 20)
    assert emitter.flush(5) and ledger.duplicates >= 1
    assert len(ledger.resolver()) == 20


def test_without_prove_no_proof_is_asked_for_and_a_rollback_is_noticed_even_so(
    ledger: FakeLedger, make_emitter: MakeEmitter
) -> None:
    answers: list[append_pb2.AppendStreamResponse] = []
    ledger.faults.tamper = answers.append
    emitter = make_emitter(prove=False)
    _start(ledger, emitter)
    assert not any(answer.consistency_proof or answer.acknowledgements[0].range_proof for answer in answers)
    assert emitter.statistics.unacknowledged_bytes == 0
    old = answers[0].checkpoint

    def rewind(response: append_pb2.AppendStreamResponse) -> None:
        response.checkpoint = old

    ledger.faults.tamper = rewind
    _emit(emitter)
    with pytest.raises(RollbackError):
        emitter.flush(5)


def test_a_ledger_put_back_from_an_old_copy_is_noticed_by_the_next_process(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    emitter = make_emitter(checkpoint_file=file)
    _start(ledger, emitter)
    assert emitter.close(5)
    other = FakeLedger()
    other.signer, other.vkey = ledger.signer, ledger.vkey
    try:
        successor = make_emitter(checkpoint_file=file, target=other.target)
        _emit(successor)
        with pytest.raises(RollbackError) as told:
            successor.flush(5)
        assert told.value.evidence[0] == file.read_bytes()
        assert successor.statistics.acknowledged == 0
    finally:
        other.stop()


@pytest.mark.parametrize("different", ["origin", "key"])
@pytest.mark.parametrize("prove", [False, True])
def test_another_ledger_than_the_one_that_is_pinned_is_sent_nothing(
    ledger: FakeLedger, different: str, prove: bool
) -> None:
    pinned = Verifier.parse(ledger.vkey)
    if different == "origin":
        pinned = Verifier("ledger.test/another", pinned.public_key)
    else:
        pinned = Verifier(pinned.name, SigningKey.generate().public_key)
    with Emitter(
        ledger.target, ledger=str(pinned), key=SigningKey.generate(), policy=Policy(prove=prove, exit_timeout_s=0)
    ) as emitter:
        _emit(emitter)
        with pytest.raises(OtherOriginError, match="was pinned"):
            emitter.flush(5)
        assert emitter.statistics.lost == 0 and emitter.statistics.pending == 5
        assert ledger.received == 0
        emitter.close(0.1)


def test_fail_closed_raises_into_the_prediction_after_a_lie_and_no_more_once_it_is_over(
    ledger: FakeLedger, make_emitter: MakeEmitter
) -> None:
    emitter = make_emitter(fail_closed=True)
    _start(ledger, emitter)
    ledger.faults.tamper = _no_range_proof(ledger)
    _emit(emitter, 1)
    _wait(lambda: emitter.statistics.mismatches > 0)

    def refuses() -> bool:
        try:
            _emit(emitter, 1)
        except EmitterError as error:
            assert isinstance(error.__cause__, HistoryError)
            return True
        return False

    _wait(refuses)
    ledger.faults.tamper = lambda response: None
    _wait(lambda: emitter.statistics.pending == 0)
    assert not refuses()
    assert emitter.flush(5)


@pytest.mark.parametrize("wait_for", ["published", "witnessed"])
def test_an_acknowledgement_that_says_less_than_it_should_is_none(
    ledger: FakeLedger, make_emitter: MakeEmitter, wait_for: str
) -> None:
    ledger.faults.promise = append_pb2.PROMISE_DURABLE if wait_for == "published" else append_pb2.PROMISE_PUBLISHED
    emitter = make_emitter(wait_for=wait_for)
    _emit(emitter)
    _wait(lambda: ledger.duplicates >= 2)
    assert not emitter.flush(0.05)
    assert (emitter.statistics.acknowledged, emitter.statistics.mismatches) == (0, 0)
    assert "sent again later" in (emitter.statistics.last_error or "")
    ledger.faults.promise = append_pb2.PROMISE_WITNESSED
    assert emitter.flush(5)


def test_durable_is_enough_for_who_waits_for_no_more(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    ledger.faults.promise = append_pb2.PROMISE_DURABLE
    ledger.faults.tamper = _no_range_proof(ledger)
    emitter = make_emitter(wait_for="durable")
    _start(ledger, emitter)


def test_a_batch_that_is_only_in_the_spool_is_hashed_again(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    ledger.stop()
    emitter = make_emitter(spool=tmp_path / "s", when_full="spool", max_unacknowledged_bytes=128 * 1024)
    _emit(emitter, 5_000)
    _wait(lambda: emitter.statistics.spool_bytes > 400_000)
    assert emitter.statistics.unacknowledged_bytes < 900_000
    ledger.start()
    assert emitter.flush(10)
    assert emitter.statistics.mismatches == 0 and emitter.statistics.unacknowledged_bytes == 0


def test_a_checkpoint_file_that_cannot_be_believed_is_told_and_stops_no_prediction(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(b"not a note")
    emitter = make_emitter(checkpoint_file=file)
    _emit(emitter)
    with pytest.raises(CheckpointFileError):
        emitter.flush(5)
    assert emitter.statistics.acknowledged == 0 and ledger.received == 0
    file.unlink()
    _wait(lambda: emitter.statistics.acknowledged == 5)


def test_a_checkpoint_file_needs_proofs_and_a_folder(ledger: FakeLedger, tmp_path: Path) -> None:
    def make(file: Path, prove: bool) -> None:
        Emitter(
            ledger.target,
            ledger=ledger.vkey,
            key=SigningKey.generate(),
            checkpoint_file=file,
            policy=Policy(prove=prove),
        )

    with pytest.raises(SettingsError, match="prove"):
        make(tmp_path / "c", False)
    with pytest.raises(SettingsError, match="no folder"):
        make(tmp_path / "no" / "c", True)
    with pytest.raises(SettingsError, match="wait_for"):
        Policy(wait_for="soon")


def test_a_server_that_never_says_who_it_is_holds_up_nobody(make_emitter: MakeEmitter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        emitter = make_emitter(target=f"127.0.0.1:{silent.getsockname()[1]}")
        _emit(emitter)
        held, _ = silent.accept()
        time.sleep(0.1)
        started_s = time.monotonic()
        assert not emitter.flush(0.05)
        assert not emitter.close(0.05)
        assert time.monotonic() - started_s < 2
        held.close()
