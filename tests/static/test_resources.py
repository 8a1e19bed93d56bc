"""Each path in its one spelling gives the bytes that the entries alone lead to; every other path gives nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import CorruptError, LineageError, SettingsError, SignatureError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import NotFoundError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.static.published import PublishedLog, opened
from lineage_ledger_server.static.resources import resource_at
from tests.static.stored_log import WRONG_PATHS, Expected, StoredLog, names_of

SIZE = 65_836


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishedLog]:
    data = tmp_path_factory.mktemp("resources") / "ledger"
    with StoredLog(data, SIZE):
        pass
    with opened(DataDir(data)) as log:
        yield log


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    with StoredLog(tmp_path_factory.mktemp("expected") / "ledger", 1) as stored:
        return Expected(stored, SIZE)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512])
def test_every_tile_and_bundle_of_a_small_log(tmp_path: Path, size: int) -> None:
    with StoredLog(tmp_path / "ledger", size) as stored:
        log = stored.published()
        truth = Expected(stored, size)
        for name in names_of(size):
            found = resource_at(name, log)
            assert found.body == truth.at(name)
            assert found.partial == (".p/" in name)
            assert found.is_bundle == ("entries" in name)
            assert not found.changes
        with pytest.raises(NotFoundError):
            resource_at("tile/2/000.p/1", log)


def test_every_tile_and_bundle_of_a_log_of_three_levels(log: PublishedLog, expected: Expected) -> None:
    names = names_of(SIZE)
    assert len(names) == 2 * 258 + 2 + 1
    for name in names:
        assert resource_at(name, log).body == expected.at(name), name


def test_partial_ones_of_every_width_up_to_what_the_head_has(log: PublishedLog, expected: Expected) -> None:
    # Earlier checkpoints need them. Tile 256 is partly there, with 256 + 44 entries behind the first 65,536.
    for kind in ("0", "entries"):
        for number, most in (("000", 255), ("256", 255), ("257", 44)):
            for width in range(1, most + 1):
                name = f"tile/{kind}/{number}.p/{width}"
                assert resource_at(name, log).body == expected.at(name)
        for width in range(45, 256):
            with pytest.raises(NotFoundError, match="published"):
                resource_at(f"tile/{kind}/257.p/{width}", log)
    for absent in (
        "tile/0/257",
        "tile/entries/257",
        "tile/1/001.p/2",
        "tile/1/001",
        "tile/2/000.p/2",
        "tile/3/000.p/1",
    ):
        with pytest.raises(NotFoundError):
            resource_at(absent, log)


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_wrong_paths_name_nothing(log: PublishedLog, path: str) -> None:
    with pytest.raises(NotFoundError) as refusal:
        resource_at(path, log)
    assert 10 < len(str(refusal.value)) < 200


def test_a_refusal_says_what_a_path_looks_like_and_how_long_the_log_is(log: PublishedLog) -> None:
    with pytest.raises(NotFoundError, match=r"'tile/0/0' is not the path .* such as tile/0/000"):
        resource_at("tile/0/0", log)
    with pytest.raises(NotFoundError, match=r"tile/entries/999 is beyond the 65,836 entries published"):
        resource_at("tile/entries/999", log)


_NAMES = frozenset(names_of(SIZE))
_PARTS = st.sampled_from(
    ["tile", "entries", "checkpoint", "0", "1", "2", "000", "001", "257", "x001", ".p", "256", "44"]
)


@given(st.lists(st.one_of(_PARTS, st.sampled_from("/./x0 P%\n")), max_size=12).map("".join))
def test_nothing_but_canonical_paths_is_ever_found(log: PublishedLog, path: str) -> None:
    try:
        found = resource_at(path, log)
    except NotFoundError:
        return
    assert found.changes == (path == "checkpoint")
    full = path.partition(".p/")[0]
    assert path == "checkpoint" or path in _NAMES or full in _NAMES or full.endswith(("257", "1/001", "2/000"))


def test_the_checkpoint_is_what_was_signed(log: PublishedLog) -> None:
    found = resource_at("checkpoint", log)
    assert found.changes
    assert found.content_type == "text/plain; charset=utf-8"
    assert Checkpoint.open(found.body, log.keys()).size == SIZE


def test_what_is_stored_and_not_published_is_not_there(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "ledger", 200) as stored:
        log = stored.published()
        stored.grow(600, publish=False)
        for path in ("tile/0/000", "tile/0/000.p/201", "tile/entries/000", "tile/entries/000.p/201", "tile/1/000.p/1"):
            with pytest.raises(NotFoundError):
                resource_at(path, log)
        stored.publish()
        assert len(resource_at("tile/1/000.p/2", log).body) == 64


def _change(folder: Path, table: str, number: int, offset: int) -> None:
    with lmdb.open(str(folder), max_dbs=16, lib_version=0) as environment:
        db = environment.open_db(table.encode(), create=False)
        with environment.begin(write=True, db=db) as txn:
            with txn.cursor() as cursor:
                assert cursor.first()
                for _ in range(number):
                    assert cursor.next()
                key, value = bytes(cursor.key()), bytearray(cursor.value())
            value[offset] ^= 1
            txn.put(key, bytes(value))


@pytest.mark.parametrize(
    ("offset", "bad"),
    [(5, "tile/0/003"), (8_192 + 30, "tile/entries/003"), (8_192, "tile/entries/003"), (8_192 + 1, "tile/entries/003")],
)
def test_changed_bytes_are_never_given(tmp_path: Path, offset: int, bad: str) -> None:
    with StoredLog(tmp_path / "ledger", 2_000) as stored:
        folder = stored.data_dir.log
    _change(folder, "bundles", 3, offset)
    with opened(stored.data_dir) as log:
        with pytest.raises(CorruptError):
            resource_at(bad, log)
        truth = Expected(stored, 2_000)
        for name in names_of(2_000):
            try:
                assert resource_at(name, log).body == truth.at(name)
            except CorruptError:
                assert "003" in name


def test_a_head_over_another_tree_gives_nothing(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "ledger", 300) as stored, StoredLog(tmp_path / "b", 400, salt=b"other") as other:
        log = stored.published()
        assert resource_at("tile/0/000", log)
        stored.grow(400)
        stored.data_dir.head.write_bytes(other.data_dir.head.read_bytes())
        with pytest.raises(LineageError):
            resource_at("tile/0/000", log)


def test_a_checkpoint_of_another_key_is_not_shown(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 300) as stored, StoredLog(tmp_path / "b", 300, seed=2) as other:
        log = stored.published()
        note = Checkpoint(stored.signer.name, 300, stored.store.root()).sign(other.signer)
        stored.data_dir.head.write_bytes(_record(tmp_path / "head", Head.of_note(note)))
        with pytest.raises(SignatureError):
            resource_at("checkpoint", log)


def _record(path: Path, head: Head) -> bytes:
    record = HeadRecord(path)
    record.write(head)
    record.close()
    return path.read_bytes()


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no ledger"), opened(DataDir(tmp_path)):
        pass


def test_a_checkpoint_that_the_ledger_did_not_sign_is_refused(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "a", 10) as stored, StoredLog(tmp_path / "b", 10, seed=2) as other:
        pass
    stored.data_dir.head.write_bytes(other.data_dir.head.read_bytes())
    with pytest.raises(LineageError), opened(stored.data_dir):
        pass
