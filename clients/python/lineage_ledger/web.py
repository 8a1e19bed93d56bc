"""HTTP as this package speaks it; the only module that imports `urllib3` (extra `cli`).

The other side is hostile: every exchange has a deadline that a server which trickles bytes cannot stretch, bodies are
bounded while they are read and while they are unpacked, and no redirection is followed.
"""

from __future__ import annotations

import http.client
import io
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

try:
    import urllib3
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("HTTP needs urllib3; install lineage-ledger[cli]", name=error.name) from error
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationParseError, SSLError

from lineage_ledger._version import __version__
from lineage_ledger.errors import LineageError, SettingsError

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 4
MAX_CONNECTIONS = 16
"""To one host; more callers than that wait for each other."""
_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 5.0
_READ_BYTES = 64 * 1024
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_OK, _TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR = 200, 429, 500
_REDIRECTIONS = range(300, 400)


class WebError(LineageError):
    """An exchange that failed: the server could not be reached, was too slow, or answered what cannot be used.

    `url` is what was asked; `status` the HTTP status, or None if no usable answer came.
    """

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class HttpResponse(NamedTuple):
    """`headers` have lower-case names; `body` is unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """A pool of connections for bounded exchanges; any thread may use it.

    `timeout_s` bounds the making of a connection, and then the whole answer, to its last byte. GET is tried again
    `retries` times, after a wait that doubles and has jitter, when the connection failed or the server said 429 or
    5xx; POST never is. Certificates of https are always verified: with the system's authorities, or with those of
    `ca_file` (PEM) alone. Proxies of the environment are not used. Raises `SettingsError`.
    """

    def __init__(
        self, timeout_s: float = DEFAULT_TIMEOUT_S, retries: int = DEFAULT_RETRIES, *, ca_file: Path | None = None
    ) -> None:
        if timeout_s <= 0 or retries < 0:
            raise SettingsError(f"timeout_s must be positive and retries 0 or more, not {timeout_s} and {retries}")
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"{ca_file}: not a file of certificates (PEM): {error}") from error
        self._timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
        self._retries = retries
        self._closed = threading.Event()
        self._pool = urllib3.PoolManager(maxsize=MAX_CONNECTIONS, block=True, ssl_context=context)
        self._pool.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def get(self, url: str, max_bytes: int) -> HttpResponse:
        """What the server answers with status 200, its body at most `max_bytes`; raises `WebError` for all else."""
        attempt = 0
        while True:
            try:
                response = self._exchange("GET", url, max_bytes)
            except _ConnectionError:
                if attempt == self._retries:
                    raise
            else:
                if response.status == _OK:
                    return response
                if not _is_passing(response.status) or attempt == self._retries:
                    raise WebError(_advice(url, response.status), url=url, status=response.status)
            full_s = min(_BACKOFF_FIRST_S * 2**attempt, _BACKOFF_MAX_S)
            if self._closed.wait(full_s * random.uniform(0.5, 1.0)):  # noqa: S311  (jitter is no secret)
                raise WebError(f"{url}: given up: nobody waits for it any more", url=url)
            attempt += 1

    def post(self, url: str, body: bytes, content_type: str, max_bytes: int) -> HttpResponse:
        """The server's answer, whatever its status but a redirection; sent once. Raises `WebError`."""
        return self._exchange("POST", url, max_bytes, body, content_type)

    def close(self) -> None:
        """Close the connections that are idle; requests under way are not tried again."""
        self._closed.set()
        self._pool.clear()

    def _exchange(
        self, method: str, url: str, max_bytes: int, body: bytes | None = None, content_type: str | None = None
    ) -> HttpResponse:
        headers = {"accept-encoding": "gzip", "user-agent": f"lineage-ledger/{__version__}"}
        if content_type is not None:
            headers["content-type"] = content_type
        check_url(url)
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except SSLError as error:
            raise WebError(f"{url}: no trusted connection: {error}; is its authority given?", url=url) from error
        except (HTTPError, http.client.HTTPException, OSError) as error:
            raise _ConnectionError(f"{url}: no answer: {error.__cause__ or error}", url=url) from error
        done = False
        try:
            if response.status in _REDIRECTIONS:
                raise WebError(
                    f"{url}: HTTP status {response.status}: redirections are not followed; give the address itself",
                    url=url,
                    status=response.status,
                )
            # Of a GET that failed only the status is of interest.
            content = _body(response, url, max_bytes) if method == "POST" or response.status == _OK else b""
            done = response.status == _OK or method == "POST"
        except (HTTPError, http.client.HTTPException, OSError) as error:
            raise _ConnectionError(f"{url}: the answer broke off: {error}", url=url) from error
        finally:
            if not done:  # What is left unread on the connection would be taken for the next answer.
                response.close()
            response.release_conn()
        return HttpResponse(response.status, {name.lower(): value for name, value in response.headers.items()}, content)


def check_url(url: str) -> None:
    """Refuse what is not the URL of a web server: raises `SettingsError`."""
    try:
        parsed = urllib3.util.parse_url(url)
    except LocationParseError as error:
        raise SettingsError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError(f"{url!r} is not the URL of a web server; it begins with https:// or http:// and a host")
    if parsed.auth is not None:
        raise SettingsError(
            f"the URL of {parsed.host} holds a user's name or password, which would be shown; leave it out"
        )


class _ConnectionError(WebError):
    """No usable answer came; another attempt may bring one."""


def _is_passing(status: int) -> bool:
    return status == _TOO_MANY_REQUESTS or status >= _FIRST_SERVER_ERROR


def _advice(url: str, status: int) -> str:
    if _is_passing(status):
        return f"{url}: HTTP status {status}, and again when tried anew; try later"
    return f"{url}: HTTP status {status}; is the address right?"


def _body(response: urllib3.BaseHTTPResponse, url: str, max_bytes: int) -> bytes:
    """The whole body, unpacked, never holding much more than `max_bytes` of it."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise WebError(f"{url}: encoded as {encoding!r}; only gzip was asked for", url=url, status=response.status)
    # Packing makes a body that cannot be packed a little longer.
    max_packed = max_bytes if encoding == "identity" else max_bytes + max_bytes // 1000 + 1024
    packed = bytearray()
    while chunk := response.read(_READ_BYTES):
        packed += chunk
        if len(packed) > max_packed:
            raise _too_long(url, max_bytes, response.status)
    if encoding == "identity":
        return bytes(packed)
    unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        content = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise WebError(f"{url}: said to be gzip, and is not: {error}", url=url, status=response.status) from error
    if len(content) > max_bytes:
        raise _too_long(url, max_bytes, response.status)
    if not unpacker.eof or unpacker.unused_data:
        raise WebError(f"{url}: gzip that does not end where the body ends", url=url, status=response.status)
    return content


def _too_long(url: str, max_bytes: int, status: int) -> WebError:
    message = f"{url}: more than {max_bytes:,} bytes, which is longer than it can be; read no further"
    return WebError(message, url=url, status=status)


class _TimedSocket(io.RawIOBase):
    """Reads from a socket until a deadline; a timeout of the socket alone begins anew with each byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]  # what BufferedReader gives
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("too slow")
        self._connection.settimeout(left_s)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer that must be there, to its last byte, before the timeout of its connection has passed."""

    def __init__(
        self, connection: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(connection, debuglevel, method, url)
        self.fp.close()
        timeout_s = connection.gettimeout() or DEFAULT_TIMEOUT_S
        self.fp = io.BufferedReader(_TimedSocket(connection, time.monotonic() + timeout_s))


class _HTTPConnection(HTTPConnection):
    response_class = _TimedResponse


class _HTTPSConnection(HTTPSConnection):
    response_class = _TimedResponse


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
