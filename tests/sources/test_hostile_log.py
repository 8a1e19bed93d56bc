"""Folders and servers that are made to hang, exhaust or mislead an audit: a finding, or no result, and never a pass."""

from __future__ import annotations

import gzip
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lineage_ledger.audit import Report, audit
from lineage_ledger.formats import tiles
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.sources import bounds
from lineage_ledger.sources.folder import open_folder
from lineage_ledger.sources.http import open_url
from lineage_ledger.sources.read_ahead import MAX_HELD_BYTES, ReadAhead
from tests.audit.ledger_builder import Builder, grown
from tests.sources import log_files
from tests.sources.http_fakes import FakeWebServer, respond

BUNDLE = "tile/entries/002"
Fault = Callable[[socket.socket, bytes], None]


@pytest.fixture(scope="module")
def builder() -> Builder:
    return grown(6, 20, 150)


@pytest.fixture
def log(builder: Builder, tmp_path: Path) -> Path:
    return log_files.write(tmp_path / "log", builder.entries, builder.checkpoint())


def audited(log: Path, builder: Builder) -> set[tuple[str, str]]:
    report = audit(open_folder(log), builder.verifier, processes=1)
    assert report.failures == []
    assert report.exit_status == 1
    return {(finding.kind, finding.place) for finding in report.findings}


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # The name of a socket is 107 bytes at most.
        listener.bind(path.name)
        os.chdir(here)


def of_ten_gigabytes(path: Path) -> None:
    os.truncate(path, 10 << 30)


@pytest.mark.parametrize("make", [a_link, a_folder, a_pipe, a_socket, of_ten_gigabytes])
def test_only_regular_files_of_a_size_that_can_be_are_read(
    log: Path, builder: Builder, make: Callable[[Path], None]
) -> None:
    make(log / BUNDLE)
    assert audited(log, builder) == {("bundle_missing", "bundle 2")}


@pytest.mark.parametrize("make", [a_link, a_folder, a_pipe, a_socket, of_ten_gigabytes])
def test_a_checkpoint_that_is_no_file_of_its_size_is_not_read(log: Path, make: Callable[[Path], None]) -> None:
    make(log / "checkpoint")
    with pytest.raises(FileNotFoundError, match="no log is there"):
        open_folder(log)


def test_a_linked_folder_is_not_followed(log: Path, builder: Builder) -> None:
    (log / "tile/entries").rename(log / "elsewhere")
    (log / "tile/entries").symlink_to(log / "elsewhere")
    assert ("bundle_missing", "bundle 0") in audited(log, builder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_no_finding(log: Path, builder: Builder) -> None:
    (log / BUNDLE).chmod(0)
    report = audit(open_folder(log), builder.verifier)
    assert (report.exit_status, report.findings) == (2, [])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_over_what_is_not_there_keeps_nobody_busy(
    log: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(bounds, "_MISSING_ALLOWED", 5)
    monkeypatch.setattr(bounds, "MAX_SIZE", 1 << 32)
    note = Checkpoint(builder.origin, 1 << 32, bytes(32)).sign(builder.signer)
    report = audit(open_folder(log, note), builder.verifier, processes=processes)
    assert report.exit_status == 1
    assert report.finding_count < 100
    assert any("given up" in failure for failure in report.failures)


@pytest.mark.parametrize("size", [bounds.MAX_SIZE + 1, (1 << 63) - 1])
def test_a_checkpoint_over_more_than_can_be_is_no_pass(log: Path, builder: Builder, size: int) -> None:
    note = Checkpoint(builder.origin, size, bytes(32)).sign(builder.signer)
    with pytest.raises(OSError, match="this release audits up to"):
        open_folder(log, note)


def served(log: Path, builder: Builder, fault: Fault, path: str = BUNDLE, timeout_s: float = 5) -> Report:
    """What an audit says of `log`, of which one file is served by `fault`."""

    def answer(connection: socket.socket, asked: str) -> None:
        file = log / asked.lstrip("/")
        if asked == f"/{path}":
            fault(connection, file.read_bytes())
        elif file.is_file():
            respond(connection, file.read_bytes())
        else:
            respond(connection, b"", "404 Not Found")

    with FakeWebServer(answer) as server:
        source = open_url(server.url, timeout_s=timeout_s)
        try:
            return audit(source, builder.verifier, processes=1)
        finally:
            source.close()


def endless(connection: socket.socket, content: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content)
    while True:
        connection.sendall(bytes(1 << 16))


def bomb(connection: socket.socket, content: bytes) -> None:
    respond(connection, gzip.compress(bytes(64 << 20)), headers={"Content-Encoding": "gzip"})


def absent(connection: socket.socket, content: bytes) -> None:
    respond(connection, b"no", "404 Not Found")


def gone(connection: socket.socket, content: bytes) -> None:
    respond(connection, b"", "410 Gone")


@pytest.mark.parametrize("fault", [endless, bomb, absent, gone])
def test_what_is_served_and_cannot_be_the_file_is_a_finding(log: Path, builder: Builder, fault: Fault) -> None:
    report = served(log, builder, fault)
    assert (report.exit_status, report.failures) == (1, [])
    assert {(finding.kind, finding.place) for finding in report.findings} == {("bundle_missing", "bundle 2")}


def test_a_file_that_is_served_packed_is_as_good(log: Path, builder: Builder) -> None:
    def packed(connection: socket.socket, content: bytes) -> None:
        respond(connection, gzip.compress(content), headers={"Content-Encoding": "gzip"})

    assert served(log, builder, packed).exit_status == 0


def slow(connection: socket.socket, content: bytes) -> None:
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode())
    for at in range(len(content)):
        connection.sendall(content[at : at + 1])
        time.sleep(0.05)


def cut_off(connection: socket.socket, content: bytes) -> None:
    respond(connection, content, headers={"Content-Length": str(len(content) + 1)})
    connection.shutdown(socket.SHUT_RDWR)


def sent_away(connection: socket.socket, content: bytes) -> None:
    respond(connection, b"", "301 Moved Permanently", {"Location": f"/{BUNDLE}"})


def broken(connection: socket.socket, content: bytes) -> None:
    respond(connection, b"", "500 Internal Server Error")


def forbidden(connection: socket.socket, content: bytes) -> None:
    respond(connection, b"", "403 Forbidden")


def hung_up(connection: socket.socket, content: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("path", [BUNDLE, "checkpoint"])
def test_what_comes_too_slowly_is_no_finding_and_no_pass(
    log: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("lineage_ledger.web._BACKOFF_FIRST_S", 0.001)
    try:
        report = served(log, builder, slow, path, timeout_s=0.3)
    except OSError as error:
        assert path == "checkpoint"
        assert path in str(error)
    else:
        assert (report.exit_status, report.findings) == (2, [])


@pytest.mark.parametrize("path", [BUNDLE, "tile/0/002", "checkpoint"])
@pytest.mark.parametrize("fault", [cut_off, sent_away, broken, forbidden, hung_up])
def test_what_could_not_be_read_is_no_finding_and_no_pass(
    log: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch, fault: Fault, path: str
) -> None:
    monkeypatch.setattr("lineage_ledger.web._BACKOFF_FIRST_S", 0.001)
    if path == "checkpoint":
        with pytest.raises(OSError, match="checkpoint"):
            served(log, builder, fault, path)
        return
    report = served(log, builder, fault, path)
    assert (report.exit_status, report.findings) == (2, [])
    assert path in report.failures[0]


def test_a_server_that_has_nothing_holds_no_log() -> None:
    with (
        FakeWebServer(lambda connection, _: respond(connection, b"", "404 Not Found")) as server,
        pytest.raises(FileNotFoundError, match="no log is there"),
    ):
        open_url(server.url)


def test_the_checkpoint_is_read_once(log: Path, builder: Builder) -> None:
    """A server that shows another one later gains nothing: the audit is of the first."""
    other = grown(8, 3, 20).checkpoint()
    shown = [(log / "checkpoint").read_bytes(), other]

    def changing(connection: socket.socket, _: bytes) -> None:
        respond(connection, shown.pop(0))

    assert served(log, builder, changing, "checkpoint").exit_status == 0
    assert shown == [other]


def test_what_is_read_ahead_is_bounded_and_in_order() -> None:
    piece = MAX_HELD_BYTES // 4
    fetched: list[int] = []

    def fetch(number: int) -> bytes:
        fetched.append(number)
        return bytes([number]) * (piece if number else 1)

    ahead = ReadAhead(fetch, 100, len, 8)
    for number in range(40):
        assert ahead.get(number)[0] == number
        time.sleep(0.002)
        assert max(fetched) - number <= 4 + 1 + 8
    assert ahead.get(80)[0] == 80
    assert ahead.get(7)[0] == 7
    assert ahead.get(99)[0] == 99
    ahead.close()
    assert max(fetched) == 99


def test_what_fetching_raises_comes_where_it_is_asked_for() -> None:
    def fetch(number: int) -> bytes:
        if number == 3:
            raise ConnectionError("three")
        return b"%d" % number

    ahead = ReadAhead(fetch, 10, len, 4)
    assert [ahead.get(number) for number in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(ConnectionError, match="three"):
        ahead.get(3)
    assert ahead.get(4) == b"4"
    ahead.close()


def test_a_tile_is_read_once_though_each_of_its_hashes_is_asked_for(log: Path, builder: Builder) -> None:
    source = open_folder(log)
    width = tiles.tile_width(1, 0, source.size)
    whole = source.tile_hashes(1, 0, width)
    (log / tiles.tile_path(1, 0, width)).unlink()
    assert [source.tile_hashes(1, 0, at)[-32:] for at in range(1, width + 1)] == [
        whole[32 * at : 32 * at + 32] for at in range(width)
    ]
