"""An exported folder has each file that its checkpoint speaks of, gets only what is new, and is never by halves."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lineage_ledger.errors import CorruptError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger_server.errors import ExportError
from lineage_ledger_server.static import folder as folders
from lineage_ledger_server.static.export import export
from tests.static.stored_log import Expected, StoredLog, names_of


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_holds(folder: Path, stored: StoredLog, size: int) -> None:
    """All that the tree of `size` entries has, byte for byte, under a checkpoint of that size."""
    checkpoint = Checkpoint.open((folder / "checkpoint").read_bytes(), stored.signer.verifier)
    assert checkpoint.size == size
    truth = Expected(stored, size)
    for name in names_of(size):
        assert (folder / name).read_bytes() == truth.at(name), name


def assert_verifies(folder: Path, stored: StoredLog) -> int:
    """`assert_holds` at the folder's own checkpoint, or nothing if it has none yet; its size.

    As tlog-tiles lets clients do, the full tile stands in for a partial one that is gone.
    """
    if not (folder / "checkpoint").exists():
        return 0
    size = Checkpoint.open((folder / "checkpoint").read_bytes(), stored.signer.verifier).size
    truth = Expected(stored, size)
    for name in names_of(size):
        path = folder / name
        if not path.exists():
            path = folder / name.partition(".p/")[0]
        assert path.read_bytes().startswith(truth.at(name)), name
    return size


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_a_new_folder(tmp_path: Path, size: int) -> None:
    with StoredLog(tmp_path / "ledger", size) as stored:
        done = export(stored.published(), tmp_path / "out")
        assert_holds(tmp_path / "out", stored, size)
        assert files_in(tmp_path / "out") == {"checkpoint", *names_of(size)}
        assert (done.size, done.old_size, done.files_removed) == (size, 0, 0)
        assert done.files_written == len(names_of(size)) + 1
        assert done.bytes_written == sum(
            (tmp_path / "out" / name).stat().st_size for name in files_in(tmp_path / "out")
        )


def test_each_run_writes_what_is_new_and_removes_what_became_full(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with StoredLog(tmp_path / "ledger", 1) as stored:
        log = stored.published()
        export(log, out)
        for size, written, removed in (
            (2, 3, 0),  # tile, bundle, checkpoint
            (2, 0, 0),
            (200, 3, 0),
            (256, 4, 6),  # tile and bundle, full now; one hash at level 1; the three partial ones of each
            (257, 3, 0),
            (300, 3, 0),
            (512 + 5, 6, 4),
            (70_000, 2 * 272 + 1 + 1 + 1 + 1, 2 + 2),  # 256 hashes at level 1 were two: those of width 1 and 2
        ):
            stored.grow(size)
            done = export(log, out)
            assert (done.files_written, done.files_removed) == (written, removed), size
            assert_holds(out, stored, size)
        # A partial one stays as long as there is no full one: whoever has an older checkpoint needs it.
        assert (out / "tile/0/273.p").exists()
        assert sorted(path.name for path in out.iterdir()) == ["checkpoint", "tile"]


def test_whoever_serves_the_folder_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        with StoredLog(tmp_path / "ledger", 300) as stored:
            export(stored.published(), tmp_path / "some" / "out")
    finally:
        os.umask(mask)
    out = tmp_path / "some" / "out"
    for path in (out, *out.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_a_signature_more_is_news(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "ledger", 300) as stored:
        export(stored.published(), tmp_path / "out")
        note = stored.note() + "— witness.example/w AAAAAAQAAAAAAAAAAA==\n".encode()
        (tmp_path / "out/checkpoint").write_bytes(note)
        assert export(stored.published(), tmp_path / "out").files_written == 1
        assert (tmp_path / "out/checkpoint").read_bytes() == stored.note()


# What is refused, and left as it is


def _refused(stored: StoredLog, out: Path, *says: str) -> None:
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    with pytest.raises(ExportError) as refusal:
        export(stored.published(), out)
    for text in says:
        assert text in str(refusal.value)
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before


def test_a_folder_of_another_ledger(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 300) as one, StoredLog(tmp_path / "b", 400, origin="example.com/other") as other:
        export(other.published(), tmp_path / "out")
        _refused(one, tmp_path / "out", "example.com/static", "example.com/other", "export to a new folder")


def test_a_folder_of_a_ledger_of_the_same_name_and_another_key(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 300) as one, StoredLog(tmp_path / "b", 200, seed=2) as other:
        export(other.published(), tmp_path / "out")
        _refused(one, tmp_path / "out", str(one.signer.verifier))


@pytest.mark.parametrize("size", [200, 300])
def test_a_folder_of_another_history(tmp_path: Path, size: int) -> None:
    with StoredLog(tmp_path / "a", 300) as one, StoredLog(tmp_path / "b", size, salt=b"other") as other:
        export(other.published(), tmp_path / "out")
        _refused(one, tmp_path / "out", "two histories", other.store.root().hex(), "evidence")


def test_a_ledger_that_went_back(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 200) as old, StoredLog(tmp_path / "b", 300) as new:
        export(new.published(), tmp_path / "out")
        _refused(old, tmp_path / "out", "holds 300", "has 200", old.store.root().hex(), new.store.root().hex())


@pytest.mark.parametrize("position", [0, 20, 30, -10])
def test_an_edited_checkpoint(tmp_path: Path, position: int) -> None:
    with StoredLog(tmp_path / "a", 300) as stored:
        export(stored.published(), tmp_path / "out")
        note = bytearray((tmp_path / "out/checkpoint").read_bytes())
        note[position] ^= 1
        (tmp_path / "out/checkpoint").write_bytes(note)
        _refused(stored, tmp_path / "out", "not one that the ledger")


@pytest.mark.parametrize("content", [b"", b"\n", b"hello", b"x" * 2_000_000])
def test_a_checkpoint_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/checkpoint").write_bytes(content)
    with StoredLog(tmp_path / "a", 2) as stored:
        _refused(stored, tmp_path / "out", "not one that the ledger")


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with StoredLog(tmp_path / "a", 2) as stored:
        _refused(stored, tmp_path / "out", "'thesis.tex'")
        _refused(stored, stored.data_dir.root, "a folder of its own")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with StoredLog(tmp_path / "a", 2) as stored:
        for path in (tmp_path / "out", tmp_path / "out" / "below"):
            with pytest.raises(ExportError, match="folder"):
                export(stored.published(), path)


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with StoredLog(tmp_path / "a", 250) as stored:
        export(stored.published(), out)
        (out / "tile/1").write_text("a file")
        stored.grow(300)
        with pytest.raises(ExportError, match=r"tile/1.*export again"):
            export(stored.published(), out)
        assert assert_verifies(out, stored) == 250
        (out / "tile/1").unlink()
        export(stored.published(), out)
        assert_holds(out, stored, 300)


def test_two_runs_at_a_time(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 2) as stored, folders.ExportFolder(tmp_path / "out").writing():
        _refused(stored, tmp_path / "out", "another process")


def test_a_ledger_with_changed_bytes_changes_nothing_that_is_published(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with StoredLog(tmp_path / "a", 300) as stored:
        export(stored.published(), out)
    data = stored.data_dir.log / "data.mdb"
    with StoredLog(tmp_path / "a", 900) as stored:
        pass
    content, entry = data.read_bytes(), stored.entry(400)
    assert content.count(entry) == 1
    data.write_bytes(content.replace(entry, entry[:-1] + b"f"))
    with StoredLog(tmp_path / "a", 0) as stored:
        with pytest.raises(CorruptError, match="400"):
            export(stored.published(), out)
        assert assert_verifies(out, stored) == 300


# Cut off at any point


class Killed(BaseException):
    """What stands for SIGKILL inside one process: nothing that cleans up may run after it but `finally`."""


_KILLED_BEFORE_STEP = """
import os, sys
from pathlib import Path
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.static.export import export
from lineage_ledger_server.static.published import opened

data, out, left = sys.argv[1], sys.argv[2], int(sys.argv[3])

def step(event, arguments):
    global left
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open") and out in str(arguments[0]):
        left -= event != "open" or bool(arguments[2] & os.O_WRONLY)
        if left < 0:
            os.kill(os.getpid(), 9)

with opened(DataDir(Path(data))) as log:
    sys.addaudithook(step)
    export(log, Path(out))
"""
# From 250 to 1,100 entries: 9 folders made, or found there; 12 files, each opened and renamed; 2 files and
# their folders removed; the folder of temporary names removed.
_STEPS = 9 + 2 * 12 + 2 * 2 + 1


@pytest.mark.parametrize("after", [0, 5, 12, 20, 29, *range(_STEPS - 7, _STEPS + 1)])
def test_a_run_that_is_cut_off_is_completed_by_the_next(tmp_path: Path, after: int) -> None:
    out = tmp_path / "out"
    with StoredLog(tmp_path / "ledger", 250) as stored:
        export(stored.published(), out)
    with StoredLog(tmp_path / "ledger", 250) as stored:
        stored.grow(1_100)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_BEFORE_STEP, str(stored.data_dir.root), str(out), str(after)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert done.returncode == (-9 if after < _STEPS else 0)
    with StoredLog(tmp_path / "ledger", 0) as stored:
        assert assert_verifies(out, stored) == (250 if after < _STEPS - 5 else 1_100)
        export(stored.published(), out)
        assert_holds(out, stored, 1_100)
        assert files_in(out) == {"checkpoint", *names_of(1_100)}
        assert sorted(path.name for path in out.iterdir()) == ["checkpoint", "tile"]
        assert export(stored.published(), out).files_written == 0


def test_what_is_there_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with StoredLog(tmp_path / "ledger", 2_000) as stored:
        monkeypatch.setattr(folders.ExportFolder, "publish", _raise_killed)
        with pytest.raises(Killed):
            export(stored.published(), out)
        assert not (out / "checkpoint").exists()
        monkeypatch.undo()
        assert export(stored.published(), out).files_written <= 1 + folders._MAX_WAITING + folders._WRITERS
        assert_holds(out, stored, 2_000)


def _raise_killed(*_: object) -> None:
    raise Killed


# The command


def test_the_command_over_a_served_ledger(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "ledger", 300) as stored:
        arguments = ["export", "--data", str(tmp_path / "ledger"), str(tmp_path / "out")]
        command = [sys.executable, "-m", "lineage_ledger.cli", *arguments]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) | {"seconds": 0, "entries_per_second": 0} == {
            "origin": "example.com/static",
            "size": 300,
            "old_size": 0,
            "files_written": 6,
            "bytes_written": sum((tmp_path / "out" / name).stat().st_size for name in files_in(tmp_path / "out")),
            "files_removed": 0,
            "seconds": 0,
            "entries_per_second": 0,
        }
        stored.grow(301)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "new            1\n" in done.stdout
        (tmp_path / "out/checkpoint").write_text("nothing")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the checkpoint in ")
