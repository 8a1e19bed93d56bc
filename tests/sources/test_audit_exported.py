"""What `lineage export` wrote, with a fault in it: found from the folder and over HTTP alike, and named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lineage_ledger.audit import Report, audit
from lineage_ledger.formats import merkle, packed, tiles
from lineage_ledger.formats.note import Verifier
from lineage_ledger.sources.folder import open_folder
from lineage_ledger.sources.http import open_url
from lineage_ledger_server.static.export import export
from lineage_ledger_server.static.published import opened
from tests.audit import stored_ledger
from tests.audit.ledger_builder import Builder, begun, grown, predictions
from tests.sources import log_files
from tests.sources.log_files import bundle_paths, change


@dataclass(frozen=True)
class Exported:
    root: Path
    verifier: Verifier
    entries: list[bytes]

    @property
    def note(self) -> bytes:
        return (self.root / "checkpoint").read_bytes()

    def copy(self, root: Path) -> Exported:
        shutil.copytree(self.root, root)
        return Exported(root, self.verifier, self.entries)

    def at(self, index: int) -> tuple[Path, int]:
        """Where an entry's bytes are: file, and offset in it."""
        number, place = divmod(index, 256)
        path = self.root / bundle_paths(len(self.entries))[number]
        return path, list(packed.spans(path.read_bytes()))[place][0]

    def tile(self, level: int, number: int) -> Path:
        width = tiles.tile_width(level, number, len(self.entries))
        return self.root / tiles.tile_path(level, number, width)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """About 3,000 entries of nearly all kinds."""
    folder = tmp_path_factory.mktemp("exported")
    ledger = stored_ledger.make(folder / "ledger")
    with opened(ledger.data_dir) as log:
        export(log, folder / "public")
    return Exported(folder / "public", ledger.verifier, log_files.entries_of(folder / "public"))


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Head and body are two pieces, and the second would wait 40 ms.

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A web server that knows nothing of logs: its URL, and the folder that it serves."""
    root = tmp_path_factory.mktemp("web")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root
        server.shutdown()


def in_folder(log: Exported, known: bytes | None = None, processes: int = 1) -> Report:
    return audit(open_folder(log.root), log.verifier, known, processes=processes)


def over_http(log: Exported, web: tuple[str, Path], known: bytes | None = None) -> Report:
    url, folder = web
    name = log.root.parent.name + log.root.name
    (folder / name).symlink_to(log.root)
    source = open_url(f"{url}/{name}/", timeout_s=5)
    try:
        return audit(source, log.verifier, known, processes=1)
    finally:
        source.close()


def places(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.place) for finding in report.findings}


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_exported_passes(exported: Exported, web: tuple[str, Path], processes: int) -> None:
    for report in (in_folder(exported, exported.note, processes), over_http(exported, web, exported.note)):
        assert (report.exit_status, report.findings, report.failures) == (0, [], [])
        assert report.counts.entries == report.size == len(exported.entries) > 2_600
        assert report.covered.tiles and not report.covered.rows
        (web[1] / (exported.root.parent.name + exported.root.name)).unlink(missing_ok=True)


def edited_entry(log: Exported) -> None:
    path, offset = log.at(700)
    change(path, offset + 8, b"\x00\xff")


def edited_entry_with_its_hash(log: Exported) -> None:
    path, offset = log.at(700)
    change(path, offset + 8, b"\x00\xff")
    changed = packed.split(path.read_bytes())[700 % 256]
    change(log.tile(0, 2), 32 * (700 % 256), merkle.leaf_hash(changed))


def edited_tile(log: Exported) -> None:
    change(log.tile(0, 3), 32 * 9, bytes(32))


def edited_upper_tile(log: Exported) -> None:
    change(log.tile(1, 0), 32 * 4 + 31, b"\x01\x02")


def missing_bundle(log: Exported) -> None:
    (log.root / bundle_paths(len(log.entries))[4]).unlink()


def missing_last_bundle(log: Exported) -> None:
    (log.root / bundle_paths(len(log.entries))[-1]).unlink()


def missing_tile(log: Exported) -> None:
    log.tile(0, 4).unlink()


def missing_upper_tile(log: Exported) -> None:
    log.tile(1, 0).unlink()


def truncated_bundle(log: Exported) -> None:
    path, offset = log.at(5 * 256 + 200)
    os.truncate(path, offset + 1)


def truncated_tile(log: Exported) -> None:
    os.truncate(log.tile(0, 5), 8_000)


def truncated_upper_tile(log: Exported) -> None:
    os.truncate(log.tile(1, 0), 33)


def empty_bundle(log: Exported) -> None:
    os.truncate(log.at(6 * 256)[0], 0)


def extra_bytes_in_bundle(log: Exported) -> None:
    with log.at(6 * 256)[0].open("ab") as file:
        file.write(packed.frame(log.entries[6]))


def extra_bytes_in_tile(log: Exported) -> None:
    with log.tile(0, 6).open("ab") as file:
        file.write(bytes(32))


def extra_bytes_in_upper_tile(log: Exported) -> None:
    with log.tile(1, 0).open("ab") as file:
        file.write(bytes(32))


def swapped_bundles(log: Exported) -> None:
    one, two = log.at(2 * 256)[0], log.at(3 * 256)[0]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


FAULTS: dict[Callable[[Exported], None], set[tuple[str, str]]] = {
    edited_entry: {("entry_changed", "entry 700")},
    edited_entry_with_its_hash: {("subtree_changed", "entries 512 to 767"), ("root_mismatch", "entry 743")},
    edited_tile: {("tile_changed", "tile level 0 number 3")},
    edited_upper_tile: {("tile_changed", "tile level 1 number 0")},
    missing_bundle: {("bundle_missing", "bundle 4")},
    missing_tile: {("tile_missing", "tile level 0 number 4")},
    missing_upper_tile: {("tile_missing", "tile level 1 number 0")},
    truncated_bundle: {("entry_unreadable", "entry 1480")},
    truncated_tile: {("tile_changed", "tile level 0 number 5")},
    truncated_upper_tile: {("tile_missing", "tile level 1 number 0")},
    empty_bundle: {("entry_unreadable", "entry 1536")},
    extra_bytes_in_bundle: {("bundle_length", "bundle 6")},
    extra_bytes_in_tile: {("tile_changed", "tile level 0 number 6")},
    extra_bytes_in_upper_tile: {("tile_missing", "tile level 1 number 0")},
    swapped_bundles: {("entry_changed", f"entry {index}") for index in range(512, 1024)},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_named(
    exported: Exported, web: tuple[str, Path], tmp_path: Path, fault: Callable[[Exported], None]
) -> None:
    log = exported.copy(tmp_path / "copy")
    fault(log)
    reports = in_folder(log, exported.note), in_folder(log, exported.note, 2), over_http(log, web, exported.note)
    for report in reports:
        assert (report.exit_status, report.failures) == (1, [])
        assert places(report) == FAULTS[fault]
    assert [finding.found.rpartition("/")[2] for finding in reports[0].findings] == [
        finding.found.rpartition("/")[2] for finding in reports[1].findings
    ]


def test_the_last_bundle_is_missed(exported: Exported, tmp_path: Path) -> None:
    log = exported.copy(tmp_path / "copy")
    missing_last_bundle(log)
    assert ("bundle_missing", f"bundle {len(log.entries) // 256}") in places(in_folder(log))


def test_a_tail_dropped_together_with_the_checkpoint_is_seen_with_one_kept_elsewhere(tmp_path: Path) -> None:
    builder = grown(3, 20, 150)
    newest = builder.checkpoint()
    old = next(size for size in range(1_000, 0, -1) if builder.entries[size - 1][0] == 0x4A)
    root = log_files.write(tmp_path / "log", builder.entries[:old], builder.checkpoint(old))
    log = Exported(root, builder.verifier, builder.entries[:old])
    alone, known = in_folder(log), in_folder(log, newest)
    assert alone.exit_status == 0
    assert alone.not_checked
    assert known.exit_status == 1
    assert places(known) == {("truncated", f"entry {old}")}


def test_a_tail_dropped_under_its_checkpoint_is_seen(exported: Exported, tmp_path: Path) -> None:
    root = log_files.write(tmp_path / "log", exported.entries[:2_000], exported.note)
    report = in_folder(Exported(root, exported.verifier, exported.entries))
    assert report.exit_status == 1
    kinds = {finding.kind for finding in report.findings}
    assert {"bundle_missing", "tile_missing"} <= kinds


@pytest.mark.parametrize("origin", ["example.com/ledger/other", stored_ledger.ORIGIN])
def test_the_checkpoint_of_another_ledger_is_a_finding(exported: Exported, tmp_path: Path, origin: str) -> None:
    log = exported.copy(tmp_path / "copy")
    other = Builder(5, origin)
    other.genesis()
    other.block()
    (log.root / "checkpoint").write_bytes(other.checkpoint())
    report = in_folder(log, exported.note)
    assert report.exit_status == 1
    assert "checkpoint_signature" in {finding.kind for finding in report.findings}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100], ids=["empty", "garbage", "no text"])
def test_a_checkpoint_that_is_none_is_a_finding(exported: Exported, tmp_path: Path, content: bytes) -> None:
    log = exported.copy(tmp_path / "copy")
    (log.root / "checkpoint").write_bytes(content)
    report = in_folder(log)
    assert report.exit_status == 1
    assert "checkpoint" in {finding.kind for finding in report.findings}


def test_a_changed_hash_is_named_on_every_level(tmp_path: Path) -> None:
    builder, key = begun(9)
    chain = builder.open_chain(key)
    entries = predictions(builder, 1_000)
    for _ in range(67):
        builder.batch(chain, entries)
        builder.block()
    root = log_files.write(tmp_path / "log", builder.entries, builder.checkpoint())
    log = Exported(root, builder.verifier, builder.entries)
    assert in_folder(log, processes=2).exit_status == 0
    for level, number, at in ((0, 255, 7), (1, 0, 200), (1, 1, 3), (2, 0, 0)):
        before = log.tile(level, number).read_bytes()
        change(log.tile(level, number), 32 * at + 5, b"\x00\xff")
        assert places(in_folder(log)) == {("tile_changed", f"tile level {level} number {number}")}
        log.tile(level, number).write_bytes(before)


def test_of_a_log_that_grew_only_what_was_there_is_looked_at(web: tuple[str, Path], tmp_path: Path) -> None:
    """The partial tiles of the old size are gone; the full ones, or wider ones, hold their hashes."""
    builder = grown(4, 30, 150)
    assert len(builder.entries) > 1_024
    old = next(size for size in range(1_000, 0, -1) if builder.entries[size - 1][0] == 0x4A)
    root = log_files.write(tmp_path / "log", builder.entries, builder.checkpoint())
    width = tiles.hash_count(1, old)
    full = root / tiles.tile_path(1, 0, tiles.hash_count(1, len(builder.entries)))
    (root / tiles.tile_path(1, 0, width)).write_bytes(full.read_bytes()[: 32 * width])
    url, folder = web
    (folder / "grown").symlink_to(root)
    for source in (open_folder(root, builder.checkpoint(old)), open_url(f"{url}/grown", builder.checkpoint(old))):
        report = audit(source, builder.verifier)
        source.close()
        assert (report.exit_status, report.size, report.unsigned) == (0, old, 0)
        assert report.findings == []
