"""The HTTP client against servers that lie, trickle, flood and send away."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.web import HttpClient, WebError, check_url
from tests.sources.http_fakes import Answer, FakeWebServer, respond

TIMEOUT_S = 0.4


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("lineage_ledger.web._BACKOFF_FIRST_S", 0.001)


def client(retries: int = 0, timeout_s: float = 10) -> HttpClient:
    return HttpClient(timeout_s, retries)


def refusal(answer: Answer, *, max_bytes: int = 1_000, timeout_s: float = 10) -> WebError:
    with FakeWebServer(answer) as server, pytest.raises(WebError) as caught:
        client(timeout_s=timeout_s).get(f"{server.url}/file", max_bytes)
    assert caught.value.url == f"{server.url}/file"
    assert caught.value.url in str(caught.value)
    return caught.value


def always(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda connection, _: respond(connection, body, status, named)


def test_what_is_asked_for_comes_unpacked_with_its_headers() -> None:
    packed = gzip.compress(b"x" * 900)
    with FakeWebServer(always(packed, Content_Encoding="gzip", X_Name="Value")) as server:
        response = client().get(f"{server.url}/a", 900)
    assert (response.status, response.body, response.headers["x-name"]) == (200, b"x" * 900, "Value")


def test_one_connection_serves_many_requests_and_many_threads_may_ask() -> None:
    accepted = set[int]()

    def answer(connection: socket.socket, path: str) -> None:
        accepted.add(connection.getpeername()[1])
        respond(connection, path.encode())

    with FakeWebServer(answer) as server:
        shared = client()
        for number in range(20):
            assert shared.get(f"{server.url}/{number}", 10).body == f"/{number}".encode()
        assert len(accepted) == 1
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda number: shared.get(f"{server.url}/{number}", 10).body, range(100)))
    assert asked == [f"/{number}".encode() for number in range(100)]


@pytest.mark.parametrize(
    "answer",
    [
        always(b"x" * 1_001),
        always(gzip.compress(bytes(1_001)), Content_Encoding="gzip"),
        always(gzip.compress(bytes(300_000_000), 1), Content_Encoding="gzip"),
    ],
    ids=["long", "unpacks to too much", "bomb"],
)
def test_a_body_that_is_longer_than_it_can_be_is_refused(answer: Answer) -> None:
    error = refusal(answer)
    assert error.status == 200
    assert "more than 1,000 bytes" in str(error)


@pytest.mark.parametrize(
    "head", [b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["plain", "chunked"]
)
def test_an_endless_body_is_read_no_further_than_it_can_be(head: bytes) -> None:
    sent = 0

    def endless(connection: socket.socket, _: str) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        piece = b"4000\r\n" + bytes(0x4000) + b"\r\n" if b"chunked" in head else bytes(0x4000)
        while True:
            connection.sendall(piece)
            sent += len(piece)

    assert "more than 1,000 bytes" in str(refusal(endless))
    assert sent < 16 << 20  # What lies in the sockets' buffers.


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b"HTT", b""],
    ids=["body", "headers", "status", "nothing"],
)
def test_a_server_that_trickles_is_too_slow(head: bytes) -> None:
    """A byte each 50 ms would hold off a timeout of the socket for ever."""

    def trickle(connection: socket.socket, _: str) -> None:
        connection.sendall(head)
        while head:
            time.sleep(0.05)
            connection.sendall(b"x")
        time.sleep(5)

    started = time.monotonic()
    assert refusal(trickle, timeout_s=TIMEOUT_S).status is None
    assert time.monotonic() - started < 4  # and not for ever


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (always(b"x" * 10, Content_Length="11"), "broke off"),
        (always(b"", "302 Found", Location="/other"), "redirections are not followed"),
        (always(b"", "304 Not Modified"), "redirections are not followed"),
        (always(b"x", Content_Encoding="br"), "only gzip was asked for"),
        (always(b"not gzip", Content_Encoding="gzip"), "is not"),
        (always(gzip.compress(b"x")[:-1], Content_Encoding="gzip"), "does not end"),
        (always(gzip.compress(b"x") + b"y", Content_Encoding="gzip"), "does not end"),
        (always(gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip"), "only gzip"),
        (always(b"", "404 Not Found"), "HTTP status 404"),
        (lambda connection, _: connection.close(), "no answer"),
        (lambda connection, _: connection.sendall(b"SSH-2.0-x\r\n"), "no answer"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_it_is(answer: Answer, said: str) -> None:
    assert said in str(refusal(answer, timeout_s=1))


def test_an_error_that_is_longer_than_the_file_could_be_is_told_by_its_status() -> None:
    assert refusal(always(b"x" * 100_000, "404 Not Found"), max_bytes=10).status == 404


@pytest.mark.parametrize("failure", ["429 Too Many Requests", "500 Oops", "503 Busy", ""])
def test_what_may_pass_is_tried_again(failure: str) -> None:
    left = 2

    def answer(connection: socket.socket, _: str) -> None:
        nonlocal left
        left -= 1
        if left >= 0 and failure:
            respond(connection, b"", failure)
        elif left >= 0:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            respond(connection, b"here")

    with FakeWebServer(answer) as server:
        assert client(2).get(f"{server.url}/a", 10).body == b"here"
        assert len(server.paths) == 3


def test_what_does_not_pass_is_not_tried_again_and_trying_ends() -> None:
    for status, asked in (("404 Not Found", 1), ("403 Forbidden", 1), ("503 Busy", 3)):
        with FakeWebServer(always(b"", status)) as server, pytest.raises(WebError) as caught:
            client(2).get(f"{server.url}/a", 10)
        assert (caught.value.status, len(server.paths)) == (int(status[:3]), asked)


def test_post_sends_once_and_gives_every_status() -> None:
    for status in ("200 OK", "409 Conflict", "503 Busy"):
        with FakeWebServer(always(b"17\n", status)) as server:
            response = client(3).post(f"{server.url}/add", b"body", "text/plain", 100)
            assert (response.status, response.body, len(server.paths)) == (int(status[:3]), b"17\n", 1)


def test_of_a_refused_connection_the_reason_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(WebError, match="Connection refused"):
        client().get(f"http://127.0.0.1:{port}/", 10)


def test_https_is_verified(tmp_path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    context = __import__("ssl").SSLContext(__import__("ssl").PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(4096)
                    respond(secured, b"secured", headers={"Connection": "close"})
            except OSError:
                continue

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
    assert HttpClient(5, 0, ca_file=tmp_path / "ca.pem").get(url, 10).body == b"secured"
    for untrusting in (HttpClient(5, 0), HttpClient(5, 0, ca_file=tmp_path / "other.pem")):
        with pytest.raises(WebError, match="no trusted connection"):
            untrusting.get(url, 10)
    listener.close()


@pytest.mark.parametrize("url", ["", "x", "ftp://x/", "file:///etc/passwd", "http://", "http://u:p@x/", "http://[x/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_url(url)
    assert "p@" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [lambda path: HttpClient(0), lambda path: HttpClient(1, -1), lambda path: HttpClient(ca_file=path / "missing")],
)
def test_settings_that_cannot_be_are_refused(make: Callable[..., object], tmp_path) -> None:
    with pytest.raises(LineageError):
        make(tmp_path)
