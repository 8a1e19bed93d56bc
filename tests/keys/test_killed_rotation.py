"""A rotation whose ledger is killed before each of its steps on disk: the next start signs with the key in force.

Killed means that the process ends there, without any `finally`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats import admin, keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import AdminError, DiskFullError, NotWritableError
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.sequencer.signing import check_key_change
from lineage_ledger_server.sequencer.submissions import Changed, Outcome, Work
from tests.keys.rotating import run

ORIGIN = "example.com/ledger/killed"
_SCRIPT = """
import os, sys, threading, time
from concurrent.futures import Future
from pathlib import Path
from lineage_ledger.formats import admin, keys
from lineage_ledger_server import head
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.signing import LedgerSigner, check_key_change
from lineage_ledger_server.store.log_store import LogStore

data_dir, left = DataDir(Path(sys.argv[1])), int(sys.argv[2])
ledger = open_ledger(data_dir, block_interval_s=1e6)
old, admin_key = (keys.read_signing_key(path)[1] for path in (data_dir.ledger_key, data_dir.admin_key))
new = keys.SigningKey.generate()
keys.write_signing_key(data_dir.new_ledger_key, ledger.origin, new)
entry = admin.build_ledger_key_change(
    ledger.origin, old_key=old, new_key=new, time_unix_ns=1, admin_key=admin_key
)
def killed_around(owner, name):
    step = getattr(owner, name)
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        result = step(*arguments, **options)
        left -= 1
        if left == 0:
            os._exit(9)
        return result
    setattr(owner, name, call)
killed_around(LogStore, "commit")
killed_around(LedgerSigner, "changed")
for name in ("pwrite", "rename", "replace", "fsync"):
    killed_around(os, name)
killed_around(head, "_sync_data")
done = Future()
ledger.sequencer.submit(
    check_key_change(entry, ledger.origin, ledger.admin_public_keys, data_dir.new_ledger_key), done.set_result
)
done.result(20)
ledger.close()
"""


def _rotate(data: Path, kill_at: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(data), str(kill_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
        timeout=30,
    ).returncode


def _vkey(path: Path) -> str:
    return str(Signer(*keys.read_signing_key(path)).verifier)


def test_killed_at_each_step(tmp_path):
    """One ledger: each life rotates once more, or is killed at it, and the next must open and sign on."""
    data_dir = DataDir(tmp_path / "l")
    ledger = open_ledger(data_dir, origin=ORIGIN)
    first = str(ledger.verifier)
    ledger.close()
    outcomes = []
    kill_at = 0
    while True:
        kill_at += 1
        before = len(_keys(data_dir))
        status = _rotate(data_dir.root, kill_at)
        changes = _keys(data_dir)
        outcomes.append(len(changes) - before)
        assert data_dir.verifier_key.read_text() == f"{changes[-1]}\n"
        assert _vkey(data_dir.ledger_key) == str(changes[-1])
        if data_dir.new_ledger_key.exists():  # of a change that never came to be
            data_dir.new_ledger_key.unlink()
        if status == 0:
            break
        assert status == 9
    assert kill_at > 14
    assert outcomes[0] == 0 and outcomes[-1] == 1, "killed before the commit, and not at all"
    assert sorted(outcomes) == outcomes, "once it is committed it stays"
    report = run("audit", "--data", data_dir.root, "--key", first)
    assert report["exit_status"] == 0


def _keys(data_dir: DataDir) -> list[Verifier]:
    """Opens the ledger to write, and signs with what is in force."""
    ledger = open_ledger(data_dir)
    try:
        found = ledger.signer.keys
        assert found.open(ledger.reader.head().note).size == ledger.store.size
        assert found == ledger.reader.ledger_keys()
        return [verifier for _, verifier in found.changes]
    finally:
        ledger.close()


@pytest.fixture
def rotated(tmp_path):
    """A ledger whose key was changed, and which nobody serves."""
    data_dir = DataDir(tmp_path / "l")
    open_ledger(data_dir, origin=ORIGIN).close()
    assert _rotate(data_dir.root, -1) == 0
    return data_dir


def test_without_the_key_in_force_it_says_which_one_is_missing(rotated):
    newest = rotated.verifier_key.read_text().strip()
    retired = next(rotated.ledger_key.parent.glob("*.retired"))
    rotated.ledger_key.rename(rotated.root / "kept")
    with pytest.raises(SettingsError, match="is missing"):
        open_ledger(rotated)
    retired.rename(rotated.ledger_key)  # the old key alone
    with pytest.raises(SettingsError) as refused:
        open_ledger(rotated)
    assert newest in str(refused.value)
    (rotated.root / "kept").rename(rotated.new_ledger_key)
    assert _keys(rotated)[-1] == Verifier.parse(newest)
    assert _vkey(rotated.ledger_key) == newest


def test_a_strange_key_is_not_touched(rotated):
    strange = rotated.root / "strange"
    keys.write_signing_key(strange, ORIGIN, keys.SigningKey.generate())
    rotated.ledger_key.rename(rotated.new_ledger_key)
    strange.rename(rotated.ledger_key)
    kept = rotated.ledger_key.read_bytes()
    with pytest.raises(SettingsError, match="no key that this ledger had"):
        open_ledger(rotated)
    assert rotated.ledger_key.read_bytes() == kept


def _submitted(ledger: Ledger, work: Work) -> Outcome:
    future: Future[Outcome] = Future()
    ledger.sequencer.submit(work, future.set_result)
    return future.result(20)


@pytest.mark.parametrize("failing", ["head record", "key files"])
def test_a_disk_that_fails_half_way(tmp_path, monkeypatch, failing):
    """The change is committed; what comes after it is done as soon as it can be, without a restart."""
    data_dir = DataDir(tmp_path / "l")
    ledger = open_ledger(data_dir, origin=ORIGIN, block_interval_s=0.2)
    old, admin_key = (keys.read_signing_key(path)[1] for path in (data_dir.ledger_key, data_dir.admin_key))
    new = keys.SigningKey.generate()
    keys.write_signing_key(data_dir.new_ledger_key, ORIGIN, new)
    entry = admin.build_ledger_key_change(ORIGIN, old_key=old, new_key=new, time_unix_ns=1, admin_key=admin_key)
    change = check_key_change(entry, ORIGIN, ledger.admin_public_keys, data_dir.new_ledger_key)
    owner, name, error = (
        (HeadRecord, "write", DiskFullError("no space"))
        if failing == "head record"
        else (DataDir, "promote_ledger_key", OSError("no space"))
    )
    step, failures = getattr(owner, name), [2]

    def fails_twice(*arguments: object) -> object:
        if failures[0]:
            failures[0] -= 1
            raise error
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails_twice)
        outcome = _submitted(ledger, change)
        assert isinstance(outcome, NotWritableError if failing == "head record" else Changed)
        deadline = time.monotonic() + 10
        while data_dir.new_ledger_key.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        while not ledger.signer.settled and time.monotonic() < deadline:
            time.sleep(0.05)
    head = ledger.reader.head()
    assert Checkpoint.open(head.note, Verifier(ORIGIN, new.public_key)).size == head.size
    ledger.close()
    assert _vkey(data_dir.ledger_key) == data_dir.verifier_key.read_text().strip()
    assert len(_keys(data_dir)) == 2


def test_two_changes_at_a_time(tmp_path):
    """Only one of them comes to be: the other replaces a key that is in force no more, or is about to be."""
    data_dir = DataDir(tmp_path / "l")
    ledger = open_ledger(data_dir, origin=ORIGIN)
    old, admin_key = (keys.read_signing_key(path)[1] for path in (data_dir.ledger_key, data_dir.admin_key))
    new = keys.SigningKey.generate()
    keys.write_signing_key(data_dir.new_ledger_key, ORIGIN, new)
    futures: list[Future[Outcome]] = [Future() for _ in range(8)]
    entries = [
        admin.build_ledger_key_change(ORIGIN, old_key=old, new_key=new, time_unix_ns=1 + number, admin_key=admin_key)
        for number in range(len(futures))
    ]
    # All are checked before any of them is done: afterwards the file of the new key has another name.
    changes = [check_key_change(entry, ORIGIN, ledger.admin_public_keys, data_dir.new_ledger_key) for entry in entries]
    for change, future in zip(changes, futures, strict=True):
        ledger.sequencer.submit(change, future.set_result)
    outcomes = [future.result(20) for future in futures]
    ledger.close()
    assert [isinstance(outcome, Changed) for outcome in outcomes] == [True, *[False] * 7]
    assert all(isinstance(outcome, AdminError) for outcome in outcomes[1:])
    assert len(_keys(data_dir)) == 2
