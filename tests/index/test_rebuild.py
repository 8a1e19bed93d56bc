"""`lineage index rebuild`: the indexes that a server makes, whatever lay there and wherever the last run was ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lineage_ledger.errors import SettingsError
from lineage_ledger_server.cli.index import index as command
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import LockedError, NotWitnessedError, StoreError
from lineage_ledger_server.index import stretch
from lineage_ledger_server.index.rebuild import rebuild
from lineage_ledger_server.publication import Rule, write_rule
from lineage_ledger_server.store.index_store import IndexStore
from lineage_ledger_server.store.lock import ExclusiveLock
from tests.audit import stored_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.stored_ledger import StoredLedger

KILLED_AFTER_COMMITS = 3
PROGRAM = """
import os, signal, sys
from pathlib import Path
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.index import stretch
from lineage_ledger_server.index.rebuild import rebuild
from lineage_ledger_server.store.index_store import IndexStore

stretch.MAX_COMMIT_ENTRIES = 256
left = int(sys.argv[2])
commit = IndexStore.commit

def dying(store, write):
    global left
    commit(store, write)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

IndexStore.commit = dying
rebuild(DataDir(Path(sys.argv[1])))
"""

Rows = list[tuple[str, bytes, bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StoredLedger:
    return stored_ledger.make(tmp_path_factory.mktemp("made") / "ledger")


@pytest.fixture
def ledger(made: StoredLedger, tmp_path: Path) -> StoredLedger:
    return made.copy(tmp_path / "ledger")


def rows_of(ledger: StoredLedger, name: str = "index") -> Rows:
    store = IndexStore.open(ledger.data_dir.root / name, origin=ledger.verifier.name, read_only=True)
    try:
        return list(store.dump())
    finally:
        store.close()


@pytest.fixture(scope="module")
def expected(made: StoredLedger) -> Rows:
    rows = rows_of(made)
    assert {name for name, _, _ in rows} == {"postings", "runs", "meta"}
    return rows


def names_in(ledger: StoredLedger) -> set[str]:
    return {path.name for path in ledger.data_dir.root.iterdir()}


def damage(ledger: StoredLedger, kind: str) -> None:
    index = ledger.data_dir.index
    if kind == "garbage":
        (index / "data.mdb").write_bytes(os.urandom(20_000))
    elif kind == "cut short":
        os.truncate(index / "data.mdb", 5_000)
    elif kind == "missing":
        for file in index.iterdir():
            file.unlink()
        index.rmdir()


@pytest.mark.parametrize("kind", ["none", "garbage", "cut short", "missing"])
def test_whatever_lay_there(kind: str, ledger: StoredLedger, expected: Rows) -> None:
    damage(ledger, kind)
    seen: list[tuple[int, int]] = []
    rebuilt = rebuild(ledger.data_dir, lambda done, size: seen.append((done, size)))
    assert rows_of(ledger) == expected
    assert (rebuilt.origin, rebuilt.old_size) == (ledger.verifier.name, 0)
    assert seen[-1] == (rebuilt.size, rebuilt.size)
    assert rebuilt.index_bytes == (ledger.data_dir.index / "data.mdb").stat().st_blocks * 512
    assert "index.new" not in names_in(ledger)


def test_goes_on_where_it_was_killed(ledger: StoredLedger, expected: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", PROGRAM, str(ledger.data_dir.root), str(KILLED_AFTER_COMMITS)]
    for run in (1, 2):
        assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
        assert rows_of(ledger) == expected, "the old indexes are gone before the new ones are whole"
        (position,) = (value for _, key, value in rows_of(ledger, "index.new") if key == b"position")
        assert int.from_bytes(position[:8], "big") == run * KILLED_AFTER_COMMITS * 256
    monkeypatch.setattr(stretch, "MAX_COMMIT_ENTRIES", 256)
    seen: list[tuple[int, int]] = []
    rebuilt = rebuild(ledger.data_dir, lambda done, size: seen.append((done, size)))
    assert rebuilt.old_size == 2 * KILLED_AFTER_COMMITS * 256
    assert [done for done, _ in seen[:-1]] == list(range(rebuilt.old_size + 256, rebuilt.size, 256))
    assert rows_of(ledger) == expected
    assert "index.new" not in names_in(ledger)


@pytest.mark.parametrize("kind", ["another ledger", "garbage", "another log"])
def test_what_a_run_of_something_else_left(kind: str, ledger: StoredLedger, expected: Rows, tmp_path: Path) -> None:
    new = ledger.data_dir.root / "index.new"
    if kind == "garbage":
        new.mkdir()
        (new / "data.mdb").write_bytes(os.urandom(10_000))
    else:
        other = stored_ledger.make(tmp_path / "other", batches=5, seed=2)
        other.data_dir.index.rename(new)
        if kind == "another ledger":
            IndexStore.open(new, origin="example.com/other").close()
    rebuild(ledger.data_dir)
    assert rows_of(ledger) == expected


def test_not_while_it_is_served(ledger: StoredLedger, expected: Rows) -> None:
    lock = ExclusiveLock(ledger.data_dir.lock)
    try:
        before = names_in(ledger)
        with pytest.raises(LockedError, match="served by another process"):
            rebuild(ledger.data_dir)
        assert names_in(ledger) == before
        assert rows_of(ledger) == expected
    finally:
        lock.release()
    rebuild(ledger.data_dir)


def test_refused_folders(ledger: StoredLedger, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", ledger.data_dir.log, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="there is no ledger in"):
            rebuild(DataDir(wrong))
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_file_in_the_place_of_the_indexes_is_left_alone(ledger: StoredLedger) -> None:
    damage(ledger, "missing")
    ledger.data_dir.index.write_text("mine")
    with pytest.raises(StoreError, match="is no folder of indexes"):
        rebuild(ledger.data_dir)
    assert ledger.data_dir.index.read_text() == "mine"


def test_other_files_among_the_indexes_are_left_alone(ledger: StoredLedger, expected: Rows) -> None:
    note = ledger.data_dir.index / "notes.txt"
    note.write_text("mine")
    with pytest.raises(StoreError, match=r"holds notes\.txt, which is not of the indexes"):
        rebuild(ledger.data_dir)
    assert note.read_text() == "mine"
    assert rows_of(ledger) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_cannot_be_written(ledger: StoredLedger, expected: Rows) -> None:
    root = ledger.data_dir.root
    root.chmod(0o500)
    try:
        with pytest.raises(StoreError):
            rebuild(ledger.data_dir)
    finally:
        root.chmod(0o700)
    assert rows_of(ledger) == expected


def test_no_room_for_the_new_ones(ledger: StoredLedger, expected: Rows) -> None:
    """As on a read-only disk: something that is no folder stands where they are made."""
    (ledger.data_dir.root / "index.new").write_text("mine")
    with pytest.raises(StoreError):
        rebuild(ledger.data_dir)
    assert rows_of(ledger) == expected
    (ledger.data_dir.root / "index.new").unlink()
    rebuild(ledger.data_dir)  # and nothing is held


def test_only_what_is_published(ledger: StoredLedger, expected: Rows) -> None:
    """What no witness cosigned is not in indexes that readers ask."""
    write_rule(ledger.data_dir, Rule.COSIGNED_ONLY, 0)
    with pytest.raises(NotWitnessedError):
        rebuild(ledger.data_dir)
    assert rows_of(ledger) == expected


def test_on_a_disk_of_their_own(ledger: StoredLedger, expected: Rows, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    ledger.data_dir.index.rename(elsewhere)
    ledger.data_dir.index.symlink_to(elsewhere)
    rebuild(ledger.data_dir)
    assert ledger.data_dir.index.is_symlink()
    assert rows_of(ledger) == expected


def test_the_command(ledger: StoredLedger, expected: Rows) -> None:
    damage(ledger, "garbage")
    as_json = CliRunner().invoke(command, ["rebuild", "--data", str(ledger.data_dir.root), "--json"])
    assert as_json.exit_code == 0, as_json.output
    document = json.loads(as_json.stdout)
    assert document["origin"] == ledger.verifier.name
    assert document["size"] > 3_000 > document["old_size"] == 0
    assert rows_of(ledger) == expected
    shown = CliRunner().invoke(command, ["rebuild", "--data", str(ledger.data_dir.root)])
    assert f"{document['size']:,}" in shown.stdout
    assert "entries/s" in shown.stdout
