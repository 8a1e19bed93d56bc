"""SIGKILL, of the ledger and of its emitters, at random times while they work: nothing acknowledged is missing,
nothing is there twice, and each id leads to its own payload."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lineage_ledger.formats import keys, seal, strict
from lineage_ledger.formats.prediction import PredictionId
from tests.support.processes import watched
from tests.support.rpc import registered
from tests.support.server import RunningServer
from tests.support.stored import entries, numbered, opened

SEED = 20_261_123
WRITER = Path(__file__).with_name("writer.py")


@dataclass
class Writer:
    """One emitter's process, which may be killed and started again with the same key, notes and spool."""

    server: RunningServer
    folder: Path
    spool: bool
    key_file: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.key_file = self.folder / "producer.key"
        keys.write_signing_key(self.key_file, "writer", registered(self.server, self.folder.name).key)

    def start(self) -> None:
        arguments = [self.server.address, self.server.verifier_key, str(self.key_file), str(self.folder / "notes")]
        with (self.folder / "log").open("ab") as log:
            self.process = watched(
                subprocess.Popen(
                    [sys.executable, str(WRITER), *arguments, *([str(self.folder / "spool")] if self.spool else [])],
                    stderr=log,
                    env={"PYTHONPATH": ":".join(filter(None, sys.path))},
                )
            )

    def begun(self) -> bool:
        notes = self.folder / "notes"
        return notes.exists() and b"begun" in notes.read_bytes()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, (self.folder / "log").read_text()

    def promises(self) -> tuple[dict[str, bytes], set[str]]:
        """All ids that `emit` returned, with their commitments, and those that were acknowledged."""
        emitted: dict[str, bytes] = {}
        acknowledged: set[str] = set()
        life: list[str] = []
        for line in (self.folder / "notes").read_text().splitlines():
            kind, *words = line.split(" ")
            if kind == "begun":
                life = []
            elif kind == "emitted" and len(words) == 2 and len(words[1]) == 64:  # the last line may be cut off
                emitted[words[0]] = bytes.fromhex(words[1])
                life.append(words[0])
            elif kind == "acknowledged":
                acknowledged |= set(life[: int(words[0])])
        return emitted, acknowledged

    def intended(self) -> set[bytes]:
        """The commitments of everything that was emitted, and perhaps of more: noted before `emit` was called."""
        lines = (self.folder / "notes").read_text().splitlines()
        words = [line.removeprefix("intended ") for line in lines if line.startswith("intended ")]
        return {bytes.fromhex(word) for word in words if len(word) == 64}


def _check(data: Path, writers: list[Writer], *, all_stored: bool) -> int:
    """Hold the ledger against what the writers were promised; how many predictions are stored."""
    with opened(data) as reader:
        stored = {
            (chain, number): strict.parse_entry(entry).prediction.input_commitment
            for chain, number, entry in numbered(reader)
            if entry[0] == 0x0A
        }
        expected: set[bytes] = set()
        for writer in writers:
            emitted, acknowledged = writer.promises()
            assert acknowledged
            assert not all_stored or set(emitted) == acknowledged
            for text, commitment in emitted.items():
                prediction = PredictionId.parse(text)
                found = stored.get((prediction.chain_id, prediction.number))
                assert found == commitment or (found is None and text not in acknowledged)
            for text in random.Random(SEED).sample(sorted(acknowledged), 300):
                located = reader.locate(PredictionId.parse(text))
                assert strict.parse_entry(located.entry).prediction.input_commitment == emitted[text]
            assert set(emitted.values()) <= writer.intended()
            expected |= writer.intended()
    assert set(stored.values()) <= expected
    assert len(set(stored.values())) == len(stored), "a prediction is stored twice"
    return len(stored)


def _wait_for(writers: list[Writer]) -> None:
    deadline = time.monotonic() + 20
    while not all(writer.begun() for writer in writers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_a_killed_ledger_keeps_what_it_acknowledged_once(tmp_path, kills):
    rng = random.Random(SEED)
    data = tmp_path / "l"
    server = RunningServer(data)
    writers = [Writer(server, tmp_path / name, spool) for name, spool in (("memory", False), ("spooled", True))]
    for writer in writers:
        writer.start()
    _wait_for(writers)
    for _ in range(kills):
        time.sleep(rng.uniform(0.0, 0.4))
        server.kill()
        server = RunningServer(data, listen=server.address)
    for writer in writers:
        writer.stop()
    assert server.stop() == 0
    assert _check(data, writers, all_stored=True) > 100 * kills


@pytest.mark.timeout(300)
def test_emitters_killed_with_a_spool_lose_nothing_that_was_sealed(tmp_path):
    rng = random.Random(SEED + 1)
    data = tmp_path / "l"
    server = RunningServer(data)
    writers = [Writer(server, tmp_path / name, True) for name in ("one", "two")]
    for round_ in range(4):
        for writer in writers:
            writer.start()
        time.sleep(rng.uniform(0.5, 1.0))
        if round_ % 2:
            server.kill()  # so that batches are in the spool which nobody acknowledged
            time.sleep(rng.uniform(0.0, 0.2))
        for writer in writers:
            writer.kill()
        if round_ % 2:
            server = RunningServer(data, listen=server.address)
    for writer in writers:
        writer.start()
    time.sleep(1.5)
    for writer in writers:
        writer.stop()
        assert not [f for f in (writer.folder / "spool").rglob("*") if f.is_file() and f.stat().st_size > 4_096]
    assert server.stop() == 0
    _check(data, writers, all_stored=False)


def test_seals_of_a_killed_ledger_are_whole_chains(tmp_path):
    """What numbers a chain's seals account for follows on without a gap, whatever was killed in between."""
    data = tmp_path / "l"
    server = RunningServer(data)
    writer = Writer(server, tmp_path / "w", False)
    writer.start()
    _wait_for([writer])
    for _ in range(3):
        time.sleep(0.3)
        server.kill()
        server = RunningServer(data, listen=server.address)
    writer.stop()
    server.stop()
    following: dict[bytes, tuple[int, int]] = {}
    with opened(data) as reader:
        for entry in entries(reader):
            if entry[0] == 0x12:
                body = seal.parse_seal(entry).body
                assert following.get(body.chain_id, (0, 0)) == (body.batch_sequence, body.first_number)
                following[body.chain_id] = (body.batch_sequence + 1, seal.next_number(body))
    assert following
