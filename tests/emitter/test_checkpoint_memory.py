"""An emitter's checkpoint file, which a command reads and writes besides."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.emitter import Emitter, Policy
from lineage_ledger.emitter.checkpoint_memory import SparingMemory
from lineage_ledger.errors import ForkError, RollbackError
from lineage_ledger.history import History
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import append_pb2
from tests.emitter.fake_ledger import FakeLedger
from tests.history.logs import SIGNER, Log
from tests.support.rpc import registered
from tests.support.server import RunningServer

LOG = Log()
FORK = Log("other ", forked_at=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen"


class Party:
    """One that remembers what it is shown, as an emitter does (`memory`) or as a command does."""

    def __init__(self, path: Path, memory: SparingMemory | None = None) -> None:
        self.memory = memory
        self.history = History(SIGNER.verifier, memory or CheckpointFile(path))

    def see(self, log: Log, size: int, *, published: bool = True) -> None:
        known = self.history.newest
        self.history.accept(log.note(size), known, log.proof(known.size, size) if known and known.size < size else ())
        if self.memory is not None and published:
            self.memory.published()

    def join(self, log: Log) -> None:
        while pair := self.history.unlinked:
            self.history.link(pair, log.proof(pair.older.size, pair.newer.size))


@pytest.fixture
def emitter(path: Path) -> Party:
    return Party(path, SparingMemory(CheckpointFile(path)))


def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another second had passed."""
    now_s = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: now_s)


def test_what_is_not_published_is_held_against_the_ledger_and_not_written(path: Path, emitter: Party) -> None:
    emitter.see(LOG, 30)
    emitter.see(LOG, 40, published=False)
    assert emitter.memory is not None
    emitter.memory.save()
    assert path.read_bytes() == LOG.note(30)
    Party(path).see(LOG, 30)  # A command is shown no more yet: that is no rollback.
    with pytest.raises(RollbackError):
        emitter.see(LOG, 35)


def test_what_a_command_saw_meanwhile_is_joined_before_it_is_overwritten(
    path: Path, emitter: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitter.see(LOG, 10)
    emitter.see(LOG, 40)
    assert path.read_bytes() == LOG.note(10)  # within the second
    Party(path).see(LOG, 30)
    _later(monkeypatch)
    emitter.see(LOG, 50)
    assert emitter.history.unlinked == (LOG.at(30), LOG.at(50))
    assert path.read_bytes() == LOG.note(30)
    emitter.join(LOG)
    emitter.see(LOG, 51)
    assert emitter.memory is not None
    emitter.memory.save()
    assert path.read_bytes() == LOG.note(51)


@pytest.mark.parametrize("size", [30, 60])
def test_a_command_that_is_shown_a_fork_is_not_forgotten(
    size: int, path: Path, emitter: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's view goes on from what is in the file, and the emitter's does; the two are different."""
    emitter.see(LOG, 10)
    emitter.see(LOG, 40)
    Party(path).see(FORK, size)
    _later(monkeypatch)
    emitter.see(LOG, 50)
    for log in (LOG, FORK):
        with pytest.raises(ForkError):
            emitter.join(log)
    with pytest.raises(ForkError, match="nobody has looked"):
        Party(path)


def test_promises_of_a_ledger_without_its_witnesses_leave_the_file_alone(
    ledger: FakeLedger, make_emitter: Callable[..., Emitter], path: Path
) -> None:
    emitter = make_emitter(checkpoint_file=path, wait_for="durable")
    binding = emitter.bind(bytes(32))

    def emit() -> None:
        binding.emit(bytes(32), bytes(32))
        assert emitter.flush(5)

    emit()
    published = ledger.checkpoint()
    emitter.close(5)
    emitter = make_emitter(checkpoint_file=path, wait_for="durable")
    binding = emitter.bind(bytes(32))
    kept = path.read_bytes()
    ledger.faults.promise = append_pb2.PROMISE_DURABLE
    emit()
    assert emitter.close(5)
    assert path.read_bytes() == kept != ledger.checkpoint()
    assert len(kept) >= len(published)


def test_an_emitter_has_the_ledger_prove_what_a_command_saw(tmp_path: Path, path: Path) -> None:
    """With the role append alone; and a file that was put back is joined with what came after."""
    token = "emitter's token"
    access = tmp_path / "access.toml"
    digest = hashlib.sha256(token.encode()).hexdigest()
    access.write_text(f'[[token]]\nsha256 = "{digest}"\nroles = ["append"]\n')
    with RunningServer(tmp_path / "l", "--access", str(access)) as server:
        endpoint, policy = Endpoint(server.address, token=token), Policy(prove=True, linger_ms=2)
        key = registered(server).key
        with Emitter(endpoint, ledger=server.verifier_key, key=key, checkpoint_file=path, policy=policy) as emitter:
            binding = emitter.bind(bytes(32))
            binding.emit(bytes(32), bytes(32))
            assert emitter.flush(5)
            until_s = time.monotonic() + 5
            while not path.exists():
                assert time.monotonic() < until_s
            older = path.read_bytes()
            while path.read_bytes() == older:
                assert time.monotonic() < until_s
                binding.emit(bytes(32), bytes(32))
                assert emitter.flush(5)
            path.write_bytes(older)
            while path.read_bytes() == older:  # It stays as it is until it is joined.
                assert time.monotonic() < until_s + 5
                binding.emit(bytes(32), bytes(32))
                assert emitter.flush(5)
            assert emitter.statistics.mismatches == 0
