"""What a process of its own serves over HTTP: the bytes of an export, how they are labelled, and what it refuses."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger_server.serving import web
from lineage_ledger_server.serving.http_process import HttpProcess
from lineage_ledger_server.serving.settings import ServerSettings
from lineage_ledger_server.static.export import export
from lineage_ledger_server.static.http_app import accepts_gzip, http_app
from tests.static.stored_log import WRONG_PATHS, Expected, StoredLog, names_of

SIZE = 65_836


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Site:
    """A log and the process that serves it."""

    def __init__(self, data: Path, size: int) -> None:
        self.stored = StoredLog(data, size)
        self.process = HttpProcess("127.0.0.1:0", ServerSettings(data), "console")
        self.process.start()
        self.host = urlsplit(self.process.url).netloc

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=10)

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = self.connect()
        try:
            return ask(connection, path, method, **headers)
        finally:
            connection.close()

    def close(self) -> None:
        self.process.stop()
        self.stored.close()


def ask(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request, its path as it is."""
    connection.putrequest(method, f"/{path}", skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("http") / "ledger", SIZE)
    yield site
    site.close()


def test_every_file_of_an_export_byte_for_byte(site: Site, tmp_path: Path) -> None:
    export(site.stored.published(), tmp_path / "out")
    names = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert set(names) == {"checkpoint", *names_of(SIZE)}
    connection = site.connect()
    for name in names:
        answer = ask(connection, name)
        assert answer.status == 200, name
        assert answer.body == (tmp_path / "out" / name).read_bytes(), name
    connection.close()


def test_every_path_of_a_small_log_as_it_grows(tmp_path: Path) -> None:
    site = Site(tmp_path / "ledger", 1)
    try:
        for size in (1, 2, 255, 256, 257, 512, 513):
            site.stored.grow(size)
            truth = Expected(site.stored, size)
            for name in names_of(size):
                assert site.ask(name).body == truth.at(name)
            checkpoint = Checkpoint.open(site.ask("checkpoint").body, site.stored.signer.verifier)
            assert (checkpoint.size, checkpoint.root) == (size, site.stored.store.root())
    finally:
        site.close()


def test_how_answers_are_labelled(site: Site) -> None:
    for path, content_type, cached in (
        ("checkpoint", "text/plain; charset=utf-8", "no-cache"),
        ("tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable"),
        ("tile/1/000", "application/octet-stream", "public, max-age=31536000, immutable"),
        ("tile/entries/000", "application/octet-stream", "public, max-age=31536000, immutable"),
        ("tile/0/000.p/7", "application/octet-stream", "public, max-age=3600, immutable"),
        ("tile/entries/257.p/44", "application/octet-stream", "public, max-age=3600, immutable"),
        ("", "text/plain; charset=utf-8", "no-cache"),
        ("healthz", "text/plain; charset=utf-8", "no-cache"),
    ):
        got, head = site.ask(path), site.ask(path, "HEAD")
        assert got.status == head.status == 200
        assert head.body == b""
        assert head.headers["content-length"] == str(len(got.body))
        for answer in (got, head):
            assert answer.headers["content-type"] == content_type
            assert answer.headers["cache-control"] == cached
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
            assert ("vary" in answer.headers) == ("entries" in path)


def test_only_bundles_are_compressed_and_only_for_who_wants_it(site: Site) -> None:
    plain = site.ask("tile/entries/000")
    assert "content-encoding" not in plain.headers
    packed = site.ask("tile/entries/000", Accept_Encoding="br, gzip;q=0.5")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body) == plain.body
    for path in ("checkpoint", "tile/0/000", ""):
        assert "content-encoding" not in site.ask(path, Accept_Encoding="gzip").headers
    for wish in ("identity", "gzip;q=0", "br", "*;q=0", ""):
        assert "content-encoding" not in site.ask("tile/entries/000", Accept_Encoding=wish).headers


@pytest.mark.parametrize(
    ("wish", "taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip;q=1.0", True),
        ("gzip ; q=0.001", True),
        ("deflate, gzip", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("gzip;q=0.0", False),
        ("*;q=0", False),
        ("gzip;q=", False),
        ("gzip;q=x", False),
        ("gzip;level=9", False),
        ("xgzip", False),
        ("", False),
        (",,;;", False),
    ],
)
def test_what_accepts_gzip(wish: str, taken: bool) -> None:
    assert accepts_gzip(wish) is taken


@given(st.text(max_size=40))
def test_any_accept_encoding_is_read(wish: str) -> None:
    assert accepts_gzip(wish) in (True, False)


@pytest.mark.parametrize("path", [path for path in WRONG_PATHS if path.isascii()])
def test_wrong_paths_are_not_found(site: Site, path: str) -> None:
    answer = site.ask(path)
    assert answer.status == 404
    assert answer.body.startswith(b"not found: ")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "path",
    [
        "checkpoint?",
        "checkpoint?x=1",
        "tile/0/000?x",
        "tile/0/000%3Fx",
        "%63heckpoint",
        "checkpoint%00",
        "checkpoint%0A",
        "%0a",
        "tile%2F0%2F000",
        "%2e%2e/head",
        "checkpoint;a",
        "healthz/",
        "?x",
    ],
)
def test_other_spellings_and_queries_are_not_found(site: Site, path: str) -> None:
    # An empty query alone cannot be told from none.
    assert site.ask(path).status == (200 if path == "checkpoint?" else 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "PROPFIND"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    for path in ("checkpoint", "tile/0/000", "nothing"):
        answer = site.ask(path, method)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET checkpoint HTTP/1.1\r\nHost: x\r\n\r\n\x00",
        b"GET /checkpoint HTTP/1.1\r\n\r\n",  # no Host
        b"GET /check point HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /checkpoint HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000,
        b"GET /" + b"a" * 300_000,
    ],
)
def test_what_is_no_request_ends_the_connection(site: Site, sent: bytes) -> None:
    host, port = site.host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
                if b"404" in received:  # a path that is none
                    break
        except ConnectionResetError:
            pass
    assert received == b"" or b" 40" in received.splitlines()[0]
    assert site.ask("checkpoint").status == 200


def test_what_people_read(site: Site) -> None:
    text = site.ask("").body.decode()
    assert "example.com/static" in text
    assert str(site.stored.signer.verifier) in text
    assert f"entries: {SIZE}\n" in text
    assert site.ask("healthz").body == f"ok, {SIZE} entries\n".encode()


def test_many_at_a_time(site: Site) -> None:
    truth = Expected(site.stored, 20_000)

    def read(worker: int) -> None:
        connection = site.connect()
        for number in range(worker, 70, 7):
            for name in (f"tile/0/{number:03}", f"tile/entries/{number:03}"):
                assert ask(connection, name).body == truth.at(name)
        connection.close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(16)))


def test_changed_bytes_are_an_error_and_never_an_answer(tmp_path: Path) -> None:
    with StoredLog(tmp_path / "ledger", 900) as stored:
        entry = stored.entry(400)
    data = stored.data_dir.log / "data.mdb"
    content = data.read_bytes()
    assert content.count(entry) == 1
    data.write_bytes(content.replace(entry, entry[:-1] + b"f"))
    site = Site(tmp_path / "ledger", 900)
    try:
        answer = site.ask("tile/entries/001")
        assert answer.status == 500
        assert b"400" in answer.body
        assert answer.headers["cache-control"] == "no-cache"
        truth = Expected(stored, 900)
        for name in names_of(900):
            if name != "tile/entries/001":
                assert site.ask(name).body == truth.at(name)
    finally:
        site.close()


def test_idle_and_dripping_connections_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_S", 0.4)
    with (
        StoredLog(tmp_path / "ledger", 2) as stored,
        _served(stored) as address,
        socket.create_connection(address, 5) as silent,
        socket.create_connection(address, 5) as dripping,
    ):
        dripping.sendall(b"GET /checkpoint HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(100):
                dripping.sendall(b"a")
                time.sleep(0.05)
        with suppress(ConnectionResetError):
            assert silent.recv(10) == b""


def test_who_does_not_read_the_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_S", 0.2)
    with StoredLog(tmp_path / "ledger", 600) as stored, _served(stored) as address, socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        greedy.settimeout(10)
        greedy.connect(address)
        greedy.sendall(b"GET /tile/entries/000 HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        time.sleep(1)
        received = 0
        try:
            while chunk := greedy.recv(1 << 20):
                received += len(chunk)
        except ConnectionError:
            pass
    assert received < 8_000_000  # of sixteen


@pytest.mark.parametrize(
    "said", [b"", b"GET /checkpoint HTTP/1.1\r\nHost:", b"GET /checkpoint HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_who_only_holds_connections_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(web, "PATIENCE_S", 0.05)
    with StoredLog(tmp_path / "ledger", 2) as stored, _served(stored) as (host, port), ExitStack() as held:
        for _ in range(12):
            held.enter_context(socket.create_connection((host, port), 5)).sendall(said)
        time.sleep(0.15)
        for _ in range(5):
            connection = http.client.HTTPConnection(host, port, timeout=5)
            assert ask(connection, "checkpoint").status == 200
            held.callback(connection.close)
            time.sleep(0.06)


def test_connections_are_bounded_however_fast_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 8)
    with StoredLog(tmp_path / "ledger", 2) as stored, _served(stored) as address, ExitStack() as held:
        ended = 0
        for opened in [held.enter_context(socket.create_connection(address, 5)) for _ in range(40)]:
            opened.settimeout(0.05)
            try:
                ended += opened.recv(1) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                ended += 1
        assert ended == 40 - 2 * 8


def test_more_connections_than_allowed_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_CONNECTIONS", 4)
    with StoredLog(tmp_path / "ledger", 2) as stored, _served(stored) as (host, port):
        idle = [socket.create_connection((host, port), 5) for _ in range(4)]
        connection = http.client.HTTPConnection(host, port, timeout=5)
        assert ask(connection, "checkpoint").status == 503
        connection.close()
        for other in idle:
            other.close()
        deadline_s = time.monotonic() + 5
        while True:
            connection = http.client.HTTPConnection(host, port, timeout=5)
            status = ask(connection, "checkpoint").status
            connection.close()
            if status == 200:
                break
            assert time.monotonic() < deadline_s


@contextmanager
def _served(stored: StoredLog) -> Iterator[tuple[str, int]]:
    """The log, served by a thread of this process; the address."""
    listener = web.Listener("127.0.0.1:0")
    address = listener.socket.getsockname()
    server = web.WebServer(http_app(stored.published()), listener.socket)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield address
    finally:
        server.stop()
        thread.join(15)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("127.0.0.1", "HOST:PORT"),
        ("127.0.0.1:http", "port"),
        ("127.0.0.1:65536", "port"),
        ("::1:80", "HOST:PORT"),
        ("http://127.0.0.1:80", "HOST:PORT"),
        ("0.0.0.0:0", "other machines"),
        ("[::]:0", "other machines"),
        ("example.com:0", "other machines"),
        ("localhost.invalid:0", "other machines"),
    ],
)
def test_addresses_that_are_refused(listen: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        web.Listener(listen)


def test_an_address_that_is_taken() -> None:
    listener = web.Listener("127.0.0.1:0")
    with pytest.raises(SettingsError, match="cannot listen on"):
        web.Listener(listener.url.removeprefix("http://"))
    listener.close()


def test_beyond_loopback_if_that_is_spelled_out() -> None:
    listener = web.Listener("0.0.0.0:0", insecure=True)
    assert listener.url.startswith("http://0.0.0.0:")
    listener.close()


def test_tls_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    for name in ("cert.pem", "absent.pem"):
        with pytest.raises(SettingsError, match="TLS files"):
            web.Listener("127.0.0.1:0", web.TlsFiles(tmp_path / name, tmp_path / name))
