"""What the files' bytes hold: each named, and together what the system says that the files take."""

from __future__ import annotations

import multiprocessing
import subprocess
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

from lineage_ledger_server.store.environment import Environment, put_all
from lineage_ledger_server.store.index_store import (
    EMPTY,
    IndexStore,
    IndexWrite,
    Position,
    Posting,
    PostingRow,
)
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.rows import TILE_BYTES, WIDTH
from lineage_ledger_server.store.run_rows import ROW_BYTES, RunKey
from tests.store.log_builder import LogBuilder

PAGE = 4_096


def du(folder: Path) -> int:
    """Bytes of the data file, as `du` counts them."""
    done = subprocess.run(["du", "-B1", str(folder / "data.mdb")], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def filled(path: Path, groups: int, predictions: int) -> LogStore:
    store = LogStore.open(path)
    builder = LogBuilder()
    for _ in range(groups):
        store.append(builder.group([predictions]))
    return store


def test_all_bytes_of_the_log_are_named(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "log", groups=12, predictions=1_000)) as store:
        use, size = store.disk_use(), store.size
        bundles = size // WIDTH
        assert abs(sum(use) - du(tmp_path / "log")) <= 2 * PAGE
        assert sum(use) == store.used_bytes
        assert use.leaf_hashes == bundles * TILE_BYTES
        with store.snapshot() as snapshot:
            packed = sum(len(snapshot.bundle_bytes(number)[1]) for number in range(bundles + 1))
            tail_hashes = (size - bundles * WIDTH) * 32
        # At most a page and a half of each bundle is left over, and the tree above them is small.
        assert packed + tail_hashes <= use.entries <= packed + tail_hashes + (bundles + 8) * 3 * PAGE // 2
        assert 2 * PAGE <= use.batches <= 8 * PAGE
        assert use.tiles == PAGE  # one of 47 hashes
        assert 6 * PAGE <= use.rows <= 12 * PAGE


def test_all_bytes_of_the_indexes_are_named(tmp_path: Path) -> None:
    with closing(IndexStore.open(tmp_path / "index", origin="o")) as store:
        rows = bytes(ROW_BYTES) * 4_096
        subjects = [number.to_bytes(32, "big") for number in range(2_000)]
        postings = [PostingRow(Posting.SEALED, subject, 7) for subject in subjects]
        runs = {RunKey(4_096 * number, 1): rows for number in range(20)}
        store.commit(IndexWrite(EMPTY, Position(81_920, bytes(32), 1, 0, 0), postings, runs, []))
        use = store.disk_use()
        assert abs(sum(use) - du(tmp_path / "index")) <= 2 * PAGE
        assert 20 * len(rows) <= use.runs <= 20 * (len(rows) + 2 * PAGE)
        assert 2_000 * 41 <= use.postings <= 2 * 2_000 * 41 + 4 * PAGE
        before = use.free
        store.clear()
        after = store.disk_use()
        assert (after.runs, after.postings) == (0, 0)
        assert after.free >= before + use.runs + use.postings - 4 * PAGE


def test_an_empty_log_has_rows_only(tmp_path: Path) -> None:
    with closing(LogStore.open(tmp_path / "log")) as store:
        use = store.disk_use()
    assert (use.entries, use.leaf_hashes, use.tiles, use.batches) == (0, 0, 0, 0)
    assert sum(use) == (tmp_path / "log" / "data.mdb").stat().st_size


def test_a_look_that_lasts_is_counted_in_commits(tmp_path: Path) -> None:
    with closing(Environment(tmp_path / "log", tables=["a"])) as environment:
        with environment.read():
            assert environment.oldest_read() == 0
            for number in range(3):
                with environment.write() as txn:
                    put_all(txn, environment.table("a"), [(bytes([number]), b"")])
            assert environment.oldest_read() == 3
        assert environment.oldest_read() == 0


def _look(path: Path, looks: Event, enough: Event) -> None:
    with closing(LogStore.open(path, read_only=True)) as store, store.snapshot():
        looks.set()
        enough.wait(30)


def test_another_process_that_looks_is_counted_too(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    looks, enough = context.Event(), context.Event()
    builder = LogBuilder()
    with closing(LogStore.open(tmp_path / "log")) as store:
        process = context.Process(target=_look, args=(tmp_path / "log", looks, enough))
        process.start()
        assert looks.wait(30)
        for _ in range(4):
            store.append(builder.group([10]))
        assert store.oldest_read() == 4
        enough.set()
        process.join(30)
        assert store.oldest_read() == 0
