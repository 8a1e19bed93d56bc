"""What comes in the middle of an emit or of its background thread: signals, finalisers, no thread, no memory."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from lineage_ledger.emitter import Emitter, EmitterError, WhenFull
from lineage_ledger.emitter.sealer import ChainSealer
from lineage_ledger.formats.prediction import PredictionId
from tests.emitter.fake_ledger import FakeLedger

pytestmark = pytest.mark.usefixtures("kind")
MakeEmitter = Callable[..., Emitter]
DEPLOYMENT = hashlib.sha256(b"deployment").digest()
INPUT = hashlib.sha256(b"input").digest()
OUTPUT = hashlib.sha256(b"output").digest()
_OWN = ("emitter/life.py", "emitter/byte_ring.py", "emitter/slot_ring.py", "/threading.py")


def _emitting_threads() -> int:
    return sum(thread.name == "lineage-emitter" for thread in threading.enumerate())


def test_an_emit_may_come_at_any_line_of_another(ledger: FakeLedger, make_emitter: MakeEmitter) -> None:
    """As a signal's handler or a finaliser does, in the same thread: it must not wait for what that thread holds."""
    emitter = make_emitter(linger_ms=0)
    binding, before = emitter.bind(DEPLOYMENT), _emitting_threads()
    ids: list[PredictionId] = []

    def emit_within(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(_OWN):
            return None
        if event == "line":
            ids.append(binding.emit(INPUT, OUTPUT))  # Which is not traced in turn.
        return emit_within

    def emit() -> None:
        sys.settrace(emit_within)
        try:
            for _ in range(20):
                emitter._lane.ring.attention = True
                ids.append(binding.emit(INPUT, OUTPUT))
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert emitter.flush(5) and _emitting_threads() == before + 1
    assert len(ids) == len(set(ids)) > 40 and all(ledger.resolve(one) is not None for one in ids)


def test_an_interrupt_while_the_thread_starts_leaves_one_thread(
    ledger: FakeLedger, make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would cut and seal one chain."""
    emitter, start = make_emitter(), threading.Thread.start
    binding, before = emitter.bind(DEPLOYMENT), _emitting_threads()
    interrupts = [KeyboardInterrupt(), KeyboardInterrupt()]

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "lineage-emitter" and interrupts:
            raise interrupts.pop()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        binding.emit(INPUT, OUTPUT)
    ids = []
    for _ in range(3):
        while True:
            try:
                ids.append(binding.emit(INPUT, OUTPUT))
                break
            except KeyboardInterrupt:
                continue
    assert emitter.flush(5) and _emitting_threads() == before + 1
    assert all(ledger.resolve(one) is not None for one in ids)
    assert emitter.close(5) and _emitting_threads() == before


@pytest.mark.parametrize("name", ["lineage-emitter", "lineage-sender"])
def test_where_no_thread_can_be_started_emit_raises_nothing_and_later_one_is(
    ledger: FakeLedger, make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    emitter = make_emitter(linger_ms=0)
    with monkeypatch.context() as patched:
        _refuse_threads(patched, name)
        ids = [emitter.bind(DEPLOYMENT).emit(INPUT, OUTPUT) for _ in range(3)]
        assert not emitter.flush(0.2)
    assert "can't start new thread" in (emitter.statistics.last_error or "")
    assert emitter.flush(5) and all(ledger.resolve(one) is not None for one in ids)


def test_where_no_thread_can_be_started_fail_closed_raises(
    make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_threads(monkeypatch, "lineage-emitter")
    binding = make_emitter(fail_closed=True).bind(DEPLOYMENT)
    for _ in range(2):
        with pytest.raises(EmitterError, match="no thread"):
            binding.emit(INPUT, OUTPUT)


def test_what_is_emitted_where_no_thread_can_be_started_any_more_is_in_the_spool(
    ledger: FakeLedger, make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Since Python 3.12, that is while the process ends."""
    with monkeypatch.context() as patched:
        _refuse_threads(patched, "lineage-emitter", "lineage-sender")
        emitter = make_emitter(spool=tmp_path, when_full=WhenFull.SPOOL)
        ids = [emitter.bind(DEPLOYMENT).emit(INPUT, OUTPUT) for _ in range(3)]
        assert not emitter.close(0.1)
    following = make_emitter(spool=tmp_path)
    following.bind(DEPLOYMENT).emit(INPUT, OUTPUT)
    assert following.flush(5) and following.statistics.recovered == 3
    assert all(ledger.resolve(one) is not None for one in ids)


def test_a_closed_emitter_starts_no_thread(make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finaliser may emit when the interpreter has ended already: then a thread never comes to life."""
    emitter, started, start = make_emitter(), list[str](), threading.Thread.start
    binding = emitter.bind(DEPLOYMENT)

    def note(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    assert emitter.close(5)
    binding.emit(INPUT, OUTPUT)
    binding.emit(b"short")
    binding.emit_many(bytes(64), bytes(31))
    assert emitter.close(5) and not started


def test_what_cannot_be_sealed_is_declared_lost(
    ledger: FakeLedger, make_emitter: MakeEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken from the ring already: were it forgotten, its numbers would be missing from the chain."""
    emitter, seal = make_emitter(), ChainSealer.seal
    failures = [MemoryError()]

    def seal_later(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return seal(*arguments)

    monkeypatch.setattr(ChainSealer, "seal", seal_later)
    lost = emitter.bind(DEPLOYMENT).emit(INPUT, OUTPUT)
    assert emitter.flush(5)
    kept = emitter.bind(DEPLOYMENT).emit(INPUT, OUTPUT)
    assert emitter.flush(5)
    assert ledger.resolve(lost) is None and ledger.resolve(kept) is not None
    assert emitter.statistics.lost == 1 and lost.chain_id == kept.chain_id


def _refuse_threads(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name in names:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
