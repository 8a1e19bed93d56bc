"""A checkpoint file: what one run saw the next one knows, whatever broke off and whoever writes besides."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineage_ledger.checkpoint_file import MAX_EVIDENCE_FOLDERS, CheckpointFile
from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    OtherKeyError,
    OtherOriginError,
    RollbackError,
    StaleError,
)
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.text import encode_base64
from lineage_ledger.history import History, Unlinked
from tests.history.logs import NOW, ORIGIN, SIGNER, Log

LOG = Log()
FORK = Log("other ", forked_at=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen.checkpoint"


def _run(path: Path) -> History:
    """As a process that starts now."""
    return History(SIGNER.verifier, CheckpointFile(path))


def _accept(history: History, log: Log, size: int) -> None:
    known = history.newest
    history.accept(log.note(size), known, log.proof(known.size, size) if known and known.size < size else ())


def _evidence(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.evidence-*"))


def test_the_next_run_knows_what_this_one_saw(path: Path) -> None:
    _accept(_run(path), LOG, 30)
    assert path.read_bytes() == LOG.note(30)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    second = _run(path)
    assert second.newest == LOG.at(30)
    _accept(second, LOG, 77)
    assert path.read_bytes() == LOG.note(77)


def test_a_fork_is_refused_now_and_later_until_somebody_has_looked(path: Path) -> None:
    _accept(_run(path), LOG, 30)
    second = _run(path)
    proof = FORK.proof(30, 77)
    with pytest.raises(ForkError) as caught:
        second.accept(FORK.note(77), second.newest, proof)
    (folder,) = _evidence(path)
    assert caught.value.folder == folder
    assert str(folder) in str(caught.value)
    assert (folder / "older.txt").read_bytes() == LOG.note(30)
    assert (folder / "newer.txt").read_bytes() == FORK.note(77)
    assert (folder / "proof.txt").read_text().splitlines() == [encode_base64(each) for each in proof]
    assert (folder / "what.txt").read_text().startswith("ForkError at 20")
    # Neither this run nor the next one takes anything, not even what is right.
    with pytest.raises(ForkError, match="nobody has looked"):
        _accept(second, LOG, 40)
    with pytest.raises(ForkError, match="nobody has looked") as again:
        _run(path)
    assert again.value.evidence == (LOG.note(30), FORK.note(77))
    assert again.value.folder == folder
    path.with_name(path.name + ".fork").unlink()
    _accept(_run(path), LOG, 40)
    assert path.read_bytes() == LOG.note(40)


def test_a_damaged_mark_of_a_fork_is_a_mark(path: Path) -> None:
    _accept(_run(path), LOG, 30)
    for content in (b"", b"\xff\xff", b"../../etc\nthis", b"seen.checkpoint.evidence-none\nthat"):
        path.with_name(path.name + ".fork").write_bytes(content)
        with pytest.raises(ForkError, match="nobody has looked"):
            _run(path)


def test_a_ledger_without_a_proof_is_refused_but_may_be_asked_again(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    error = history.unproven(LOG.at(30), LOG.at(40), "no such size")
    assert isinstance(error, ForkError)
    assert error.folder in _evidence(path)
    _accept(_run(path), LOG, 40)


def test_a_rollback_after_a_restart_is_seen_and_kept_once(path: Path) -> None:
    _accept(_run(path), LOG, 77)
    for _ in range(3):
        history = _run(path)
        with pytest.raises(RollbackError) as caught:
            _accept(history, LOG, 30)
        assert caught.value.folder == _evidence(path)[0]
    assert len(_evidence(path)) == 1
    assert path.read_bytes() == LOG.note(77)
    _accept(_run(path), LOG, 78)  # A server that was behind has caught up.


def test_another_origin_and_a_stale_view_leave_evidence_and_no_mark(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    elsewhere = Log(signer=Signer("elsewhere.example.com", SIGNER.key))
    with pytest.raises(OtherOriginError):
        history.open(elsewhere.note(40))
    with pytest.raises(StaleError):
        history.check_age(LOG.at(30), NOW - 10**12, NOW)
    assert [sorted(file.name for file in folder.iterdir()) for folder in _evidence(path)] == [
        ["newer.txt", "older.txt", "what.txt"],
        ["newer.txt", "what.txt"],
    ]
    _accept(_run(path), LOG, 40)


def test_evidence_is_bounded(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 130)
    for size in range(1, MAX_EVIDENCE_FOLDERS + 3):
        with pytest.raises(RollbackError) as caught:
            _accept(history, LOG, size)
    assert len(_evidence(path)) == MAX_EVIDENCE_FOLDERS
    assert caught.value.folder is None
    # Nobody hides a fork behind them.
    with pytest.raises(ForkError) as fork:
        history.accept(FORK.note(130), history.newest, ())
    assert fork.value.folder == _evidence(path)[-1]


def test_a_folder_that_cannot_be_written_hides_no_fork(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    history._memory._mark = Path("/proc/nowhere/mark")  # type: ignore[union-attr]  # a disk that takes nothing
    with pytest.raises(ForkError) as caught:
        history.accept(FORK.note(77), history.newest, ())
    assert "cannot be kept" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda note: b"",
        lambda note: note[:-1],
        lambda note: note[: len(note) // 2],
        lambda note: note + b"\n",
        lambda note: note.replace(b"\n30\n", b"\n31\n"),
        lambda note: bytes(len(note)),
        lambda note: note * 20_000,
        lambda note: b"\xff" + note,
    ],
    ids=["empty", "cut", "half", "longer", "changed", "zeros", "long", "no text"],
)
def test_a_file_that_is_not_a_signed_checkpoint_is_an_error(change: object, path: Path) -> None:
    path.write_bytes(change(LOG.note(30)))  # type: ignore[operator]  # a lambda
    before = path.read_bytes()
    with pytest.raises(CheckpointFileError, match="changed or damaged"):
        _run(path)
    assert path.read_bytes() == before


def test_a_file_that_is_damaged_while_it_is_used_is_an_error(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    path.write_bytes(LOG.note(40)[:-9])
    with pytest.raises(CheckpointFileError, match="changed or damaged"):
        _accept(history, LOG, 50)


def test_a_forged_file_is_an_error(path: Path) -> None:
    path.write_bytes(Log(signer=Signer("elsewhere.example.com", SIGNER.key)).note(30))
    with pytest.raises(CheckpointFileError, match="another ledger"):
        _run(path)
    path.write_bytes(Log(signer=Signer(ORIGIN, SigningKey.generate())).note(30))
    history = _run(path)  # The ledger's key may have been changed: it is looked at when the other key is known.
    with pytest.raises(OtherKeyError):
        _ = history.newest
    with pytest.raises(OtherKeyError):
        history.accept(LOG.note(30), None, ())


def test_a_remembered_checkpoint_of_a_later_key_is_read_once_the_key_is_known(path: Path) -> None:
    later = Log(signer=Signer(ORIGIN, SigningKey.generate()))
    path.write_bytes(later.note(30))
    history = _run(path)
    history.keys = later.signer.verifier
    assert history.newest == later.at(30)


def test_a_smaller_checkpoint_put_back_is_not_believed_by_who_runs(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    _accept(history, LOG, 77)
    path.write_bytes(LOG.note(30))
    assert history.newest == LOG.at(77)
    _accept(history, LOG, 78)
    assert path.read_bytes() == LOG.note(30)  # Somebody may have seen it, so it is joined before it is forgotten.
    assert history.unlinked == (LOG.at(30), LOG.at(78))
    history.link(Unlinked(LOG.at(30), LOG.at(78)), LOG.proof(30, 78))
    assert path.read_bytes() == LOG.note(78)


def test_another_tree_of_the_same_size_put_there_is_a_fork(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    path.write_bytes(FORK.note(30))
    with pytest.raises(ForkError, match="same size"):
        _ = history.newest


def test_what_another_run_wrote_meanwhile_must_be_joined(path: Path) -> None:
    _accept(_run(path), LOG, 30)
    branch = Log("other ", forked_at=40)
    first, second = _run(path), _run(path)
    asked = first.newest
    _accept(second, LOG, 60)
    first.accept(branch.note(77), asked, branch.proof(30, 77))
    assert path.read_bytes() == LOG.note(60)
    pair = first.unlinked
    assert pair == (LOG.at(60), branch.at(77))
    with pytest.raises(ForkError):
        first.link(pair, branch.proof(60, 77))
    assert path.read_bytes() == LOG.note(60)
    with pytest.raises(ForkError, match="nobody has looked"):
        _accept(second, LOG, 77)


def test_what_is_known_is_not_written_again(path: Path) -> None:
    history = _run(path)
    _accept(history, LOG, 30)
    written = path.stat().st_ino
    _accept(history, LOG, 30)
    _accept(_run(path), LOG, 30)
    assert path.stat().st_ino == written


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFileError, match="folder"):
        _run(tmp_path / "none" / "seen")


def test_a_link_is_followed_and_kept(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    _accept(_run(link), LOG, 30)
    assert link.is_symlink()
    assert path.read_bytes() == LOG.note(30)


_WRITER = """
import sys
from pathlib import Path
from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.history import History, Unlinked
from tests.history.logs import ORIGIN, Log

signer = Signer(ORIGIN, SigningKey(bytes.fromhex(sys.argv[2])))
log = Log(signer=signer)
print("ready", flush=True)
history = History(signer.verifier, CheckpointFile(sys.argv[1]))
for size in range(int(sys.argv[3]), 131, int(sys.argv[4])):
    known = history.newest
    told = max(size, known.size if known else 0)
    history.accept(log.note(told), known, log.proof(known.size, told) if known and known.size < told else ())
    while (pair := history.unlinked) is not None:
        history.link(pair, log.proof(pair.older.size, pair.newer.size))
"""


def _writer(path: Path, seed: bytes, first: int, step: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", _WRITER, str(path), seed.hex(), str(first), str(step)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


def test_two_processes_on_one_file_keep_one_line(path: Path) -> None:
    seed = os.urandom(32)
    log = Log(signer=Signer(ORIGIN, SigningKey(seed)))
    processes = [_writer(path, seed, first, 2) for first in (1, 2)]
    assert [process.wait(30) for process in processes] == [0, 0]
    for process in processes:
        process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
    assert path.read_bytes() == log.note(130)
    assert _evidence(path) == []


def test_a_process_that_is_killed_while_it_writes_leaves_a_good_file(path: Path) -> None:
    seed = os.urandom(32)
    verifier = Verifier(ORIGIN, SigningKey(seed).public_key)
    size = 0
    for round_number in range(8):
        process = _writer(path, seed, 1 + round_number * 8, 1)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * round_number)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        newest = History(verifier, CheckpointFile(path)).newest
        now = newest.size if newest is not None else 0
        assert now >= size
        size = now
    assert size > 0
