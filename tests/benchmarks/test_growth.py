"""A long run of `growth` goes on after it was killed, and measures nothing that does not pass its audit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from benchmarks import audited, growth, stored_log
from benchmarks.bodies import Bodies, Sample, sealed
from benchmarks.growth_state import State, Stretch
from lineage_ledger.emitter.sealer import ChainSealer
from lineage_ledger.formats import packed
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import HeadRecord
from tests.support.processes import watched

_RUN = "from benchmarks import growth; growth.main({arguments}, growth.Sizes(10**9, stretch_batches=2))"


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    state = State.load(tmp_path / "growth.json")
    assert state.measured == 0
    state.deployment_hash = "ab" * 32
    state.stretches.append(Stretch(size=10, entries=7, seconds=2.0, server_cpu_s=1.0, index_lag=3))
    state.add_samples([Sample(b"r" * 16, PredictionId(b"c" * 16, 5, b"iiii"))])
    state.save()
    again = State.load(tmp_path / "growth.json")
    assert (again.deployment_hash, again.stretches) == (state.deployment_hash, state.stretches)
    assert list(again.all_samples()) == [Sample(b"r" * 16, PredictionId(b"c" * 16, 5, b"iiii"))]
    assert [path.name for path in tmp_path.iterdir()] == ["growth.json"]


def test_samples_are_what_is_in_the_batches() -> None:
    """And no two request ids are the same."""
    samples: list[Sample] = []
    sealer = ChainSealer("example.com/log", SigningKey.generate())
    sealer.open(None)
    batches = sealed(sealer, Bodies(100), bytes(32), samples)
    seen = set()
    for _ in range(3):
        batch = next(batches)
        entries = [parse_entry(entry) for entry in packed.iterate(batch.packed or b"")]
        seen |= {entry.prediction.request_id for entry in entries[:-1]}
        request_id, prediction_id = samples[-1]
        found = entries[prediction_id.number - batch.first_number].prediction
        assert found.request_id == request_id
        assert found.input_commitment[:4] == prediction_id.input_prefix
        assert prediction_id.chain_id == batch.chain_id
    assert len(seen) == 300


def test_a_disk_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 0, 10**9))
    with pytest.raises(SystemExit, match="MiB free"):
        growth.main(["--data", str(tmp_path), "--entries", "100000000"])
    assert not (tmp_path / "lineage-growth" / "ledger").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bytes]:
    """A stored ledger with its indexes, its verifier key and its newest checkpoint."""
    from benchmarks.served import served
    from lineage_ledger import Client

    root = tmp_path_factory.mktemp("made") / "ledger"
    verifier = str(stored_log.make(root, 2_000, 100))
    with served(root), Client(f"unix:{root / 'admin.sock'}", ledger=verifier) as client:
        until_s = time.monotonic() + 30
        while (now := client.statistics()).indexed_size < now.tree_size:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        note = client.signed_checkpoint()[1]
    return root, verifier, note


@pytest.fixture
def copied(made: tuple[Path, str, bytes], tmp_path: Path) -> tuple[Path, str, bytes]:
    root, verifier, note = made
    shutil.copytree(root, tmp_path / "ledger")
    return tmp_path / "ledger", verifier, note


def test_a_right_ledger_passes(copied: tuple[Path, str, bytes]) -> None:
    audited.must_pass(*copied)


def flip(file: Path, what: bytes) -> None:
    data = bytearray(file.read_bytes())
    at = data.index(what)
    data[at] ^= 1
    file.write_bytes(data)


def test_a_changed_entry_does_not_pass(copied: tuple[Path, str, bytes]) -> None:
    flip(copied[0] / "log" / "data.mdb", stored_log.request_id(777))
    with pytest.raises(SystemExit, match="worth nothing"):
        audited.must_pass(*copied)


def test_a_ledger_without_its_indexes_does_not_pass(copied: tuple[Path, str, bytes]) -> None:
    shutil.rmtree(copied[0] / "index")
    with pytest.raises(SystemExit, match="worth nothing"):
        audited.must_pass(*copied)


def test_a_ledger_that_lacks_what_was_acknowledged_does_not_pass(made: tuple[Path, str, bytes], tmp_path: Path) -> None:
    """A ledger of the same key from before."""
    root, verifier, _ = made
    later = tmp_path / "later"
    shutil.copytree(root, later)
    from benchmarks.served import served

    with served(later):  # puts one more producer on record
        pass
    head = HeadRecord(DataDir(later).head, read_only=True)
    note = head.read_published().note
    head.close()
    shutil.copytree(root, tmp_path / "ledger")
    with pytest.raises(SystemExit, match="worth nothing"):
        audited.must_pass(tmp_path / "ledger", verifier, note)


def stretches_of(state: Path) -> int:
    return len(json.loads(state.read_text())["stretches"]) if state.exists() else 0


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_that_was_killed_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "lineage-growth" / "growth.json"
    arguments = ["--data", str(tmp_path), "--json", "--entries", "10000000"]
    process = watched(subprocess.Popen([sys.executable, "-c", _RUN.format(arguments=arguments)]))
    until_s = time.monotonic() + 60
    while stretches_of(state) < 2:
        assert time.monotonic() < until_s
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = json.loads(state.read_text())["stretches"]
    capfd.readouterr()
    goal = sum(each["entries"] for each in before) + 2 * 2 * 4_096
    growth.main(["--data", str(tmp_path), "--json"], growth.Sizes(goal, stretch_batches=2, lookups=20, catch_up_s=60.0))
    document = json.loads(capfd.readouterr().out)
    rates = [each for each in document["results"] if each["name"] == "rate of a stretch"]
    assert [each["params"]["size"] for each in rates[: len(before)]] == [each["size"] for each in before]
    assert sum(each["params"]["entries"] for each in rates) == goal
    assert not state.exists()
