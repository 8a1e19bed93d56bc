"""What survives a process: real children that are killed or forked while they emit."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lineage_ledger.emitter import Emitter, WhenFull
from lineage_ledger.emitter.sealer import ChainSealer
from lineage_ledger.emitter.spool import Spool
from lineage_ledger.formats.keys import SigningKey, write_signing_key
from lineage_ledger.formats.prediction import PredictionId
from tests.emitter.fake_ledger import FakeLedger

pytestmark = pytest.mark.usefixtures("kind")
MakeEmitter = Callable[..., Emitter]
DEPLOYMENT = hashlib.sha256(b"deployment").digest()

_CHILD = """
import sys
from lineage_ledger.emitter import Emitter, Policy
target, vkey, key, spool = sys.argv[1:]
emitter = Emitter(target, ledger=vkey, key=key, spool=spool, policy=Policy(when_full="block", max_batch_entries=64))
binding = emitter.bind(bytes(32))
place = 0
while True:
    print(binding.emit(place.to_bytes(32, "big"), bytes(32)), flush=True)
    place += 1
"""


def test_what_was_sealed_before_a_sigkill_is_logged_once(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    write_signing_key(key, "producer", SigningKey.generate())
    spool = tmp_path / "spool"
    # The ledger takes batches and says nothing: all of them are in the spool, some are in the ledger too.
    ledger.faults.lose_acknowledgement = lambda batches: batches > 2
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, ledger.target, ledger.vkey, str(key), str(spool)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    printed: list[bytes] = []
    deadline_s = time.monotonic() + 30
    # How much is sealed by when depends on the disk, so wait for an amount and not for a time.
    while sum(path.stat().st_size for path in spool.glob("*/*.batches")) < 150_000:
        assert time.monotonic() < deadline_s
        printed += [child.stdout.readline() for _ in range(200)]
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    child.wait()
    ids = [PredictionId.parse(line.decode().strip()) for line in printed + rest.splitlines(keepends=True)[:-1]]
    ledger.faults.lose_acknowledgement = lambda batches: False

    shutil.copytree(spool, tmp_path / "copy")
    ((_, sealed),) = Spool(tmp_path / "copy", 1 << 30).adopt()
    heir = Emitter(ledger.target, ledger=ledger.vkey, key=key, spool=spool)
    new = heir.bind(bytes(32)).emit(bytes(32), bytes(32))
    assert heir.close(20)
    logged = ledger.resolver()
    of_child = sorted(prediction_id.number for prediction_id in logged if prediction_id.chain_id == ids[0].chain_id)
    assert of_child == list(range(sealed[-1].next_number)) and len(of_child) > 1_000
    assert all(logged[one].input_commitment == one.number.to_bytes(32, "big") for one in logged if one in ids)
    first = ledger.bodies(new.chain_id)[0]
    assert (first.predecessor.chain_id, first.predecessor.next_number) == (ids[0].chain_id, len(of_child))
    assert heir.statistics.recovered > 0 and not any(path.is_dir() for path in spool.iterdir())


def test_torn_and_damaged_records_are_cut_off(tmp_path: Path) -> None:
    key = SigningKey.generate()
    damages: list[tuple[Callable[[bytes], bytes], int]] = [
        (lambda data: data[:-1], 2),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], 2),
        (lambda data: data + b"\0\0", 3),
        (lambda data: data + b"\xff" * 40, 3),
    ]
    for damage, left in damages:
        folder = tmp_path / str(time.monotonic_ns())
        spool, sealer = Spool(folder, 1 << 20), ChainSealer("o", key)
        chain = spool.begin(sealer.chain_id)
        for batch in (sealer.open(None), sealer.heartbeat(), sealer.heartbeat()):
            chain.append(batch)
        spool.close()
        (path,) = folder.glob("*/*.batches")
        path.write_bytes(damage(path.read_bytes()))
        ((_, batches),) = Spool(folder, 1 << 20).adopt()
        assert [batch.sequence for batch in batches] == list(range(left))


def test_a_chain_that_a_process_has_open_is_not_adopted(tmp_path: Path) -> None:
    spool, sealer = Spool(tmp_path, 1 << 20), ChainSealer("o", SigningKey.generate())
    spool.begin(sealer.chain_id).append(sealer.open(None))
    assert not list(Spool(tmp_path, 1 << 20).adopt())
    spool.close()
    assert len(list(Spool(tmp_path, 1 << 20).adopt())) == 1


def test_a_full_disk_does_not_stop_predictions(
    ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    emitter = make_emitter(spool=tmp_path)
    binding = emitter.bind(DEPLOYMENT)
    binding.emit(bytes(32), bytes(32))
    assert emitter.flush(5)
    with monkeypatch.context() as patch:
        patch.setattr("lineage_ledger.emitter.spool.os.write", full)
        binding.emit(bytes(32), bytes(32))
        assert emitter.flush(5)
    assert "No space left" in (emitter.statistics.last_error or "")
    binding.emit(bytes(32), bytes(32))
    assert emitter.close(5)
    assert len(ledger.resolver()) == 3


def test_a_long_outage_goes_into_the_spool(ledger: FakeLedger, make_emitter: MakeEmitter, tmp_path: Path) -> None:
    ledger.stop()
    emitter = make_emitter(
        spool=tmp_path, when_full=WhenFull.SPOOL, max_unacknowledged_bytes=128 * 1024, max_pending_entries=8_192
    )
    binding = emitter.bind(DEPLOYMENT)
    ids = set()
    for place in range(10_000):
        ids.add(binding.emit(place.to_bytes(32, "big"), bytes(32)))
        if place % 2_000 == 0:
            time.sleep(0.05)
    time.sleep(0.1)
    statistics = emitter.statistics
    assert statistics.lost == 0 and statistics.spool_bytes > 500_000
    assert statistics.unacknowledged_bytes < 2 * 1024 * 1024
    ledger.start()
    assert emitter.close(20)
    assert set(ledger.resolver()) == ids


def test_parent_and_child_both_complete(ledger: FakeLedger, tmp_path: Path) -> None:
    """In processes of its own: the fake ledger's server would not survive a fork."""
    program = tmp_path / "program.py"
    program.write_text(_FORKING)
    done = subprocess.run(
        [sys.executable, str(program), ledger.target, ledger.vkey], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    logged = ledger.resolver()
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == len(set(lines)) == len(logged) == 50_000 + 2 * 5_000
    for line in lines:
        identifier, place = line.split()
        assert logged[PredictionId.parse(identifier)].input_commitment == int(place).to_bytes(32, "big")
    assert len({one.chain_id for one in logged}) == 3
    assert all(ledger.bodies(chain)[-1].closing for chain in ledger.chains)


_FORKING = """
import os, sys, threading, time
from lineage_ledger.emitter import Emitter, Policy
from lineage_ledger.formats.keys import SigningKey
emitter = Emitter(sys.argv[1], ledger=sys.argv[2], key=SigningKey.generate(), policy=Policy(when_full="block"))
binding = emitter.bind(bytes(32))

def work(first, count, found):
    for place in range(first, first + count):
        found.append(f"{binding.emit(place.to_bytes(32, 'big'), bytes(32), duration_us=1)} {place}")

def finish(found):
    complete = emitter.close(25)
    sys.stdout.write("".join(line + "\\n" for line in found))
    sys.stdout.flush()
    os._exit(0 if complete else 1)

found = [[] for _ in range(4)]
threads = [threading.Thread(target=work, args=(n * 12500, 12500, found[n])) for n in range(4)]
for thread in threads: thread.start()
children = []
for child in range(2):
    time.sleep(0.1)
    pid = os.fork()
    if pid == 0:
        mine = []
        work(100000 * (child + 1), 5000, mine)
        finish(mine)
    children.append(pid)
for thread in threads: thread.join()
failed = any(os.waitpid(pid, 0)[1] for pid in children)
if failed: sys.exit("a child failed")
finish(sum(found, []))
"""


def test_a_fork_before_anything_was_emitted(ledger: FakeLedger, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "from lineage_ledger.emitter import Emitter\n"
        "from lineage_ledger.formats.keys import SigningKey\n"
        "emitter = Emitter(sys.argv[1], ledger=sys.argv[2], key=SigningKey.generate())\n"
        "binding = emitter.bind(bytes(32))\n"
        "assert 'grpc' not in sys.modules\n"
        "pid = os.fork()\n"
        "binding.emit(bytes(32), bytes(32))\n"
        "assert emitter.flush(10)\n"
        "assert not pid or os.waitpid(pid, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, str(program), ledger.target, ledger.vkey], check=True, timeout=40)
    assert len(ledger.chains) == 2 and len(ledger.resolver()) == 2
    # Neither called close: the exit of the process does.
    deadline_s = time.monotonic() + 5
    while not all(chain.closed for chain in ledger.chains.values()) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert all(chain.closed for chain in ledger.chains.values())
