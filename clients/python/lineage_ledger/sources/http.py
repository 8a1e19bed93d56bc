"""A log that a web server, or an object store, serves as static files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lineage_ledger.errors import SettingsError
from lineage_ledger.sources.tiled import MissingFileError, TiledSource, UnusableFileError
from lineage_ledger.web import DEFAULT_TIMEOUT_S, MAX_CONNECTIONS, HttpClient, WebError, check_url

_OK = 200
_ABSENT = (404, 410)


class HttpReader:
    """Reads what is below `url`."""

    def __init__(self, client: HttpClient, url: str) -> None:
        self._client = client
        self._base = url.rstrip("/") + "/"

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `FileReader.read`."""
        try:
            return self._client.get(self._base + path, max_bytes).body
        except WebError as error:
            if error.status in _ABSENT:
                raise MissingFileError(str(error)) from error
            if error.status == _OK:  # It was answered, and with what cannot be the file.
                raise UnusableFileError(str(error)) from error
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """See `FileReader.close`."""
        self._client.close()


def open_url(
    url: str,
    note: bytes | None = None,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    ca_file: Path | None = None,
    in_runs: bool = False,
) -> TiledSource:
    """The log at `url`, under `note` or the checkpoint that is served. Raises `OSError`, `SettingsError`."""
    check_url(url)
    if "?" in url or "#" in url:
        raise SettingsError(f"{url!r} has a query or a fragment; give the URL below which `checkpoint` and `tile/` lie")
    files = HttpReader(HttpClient(timeout_s, ca_file=ca_file), url)
    source = TiledSource(files, note, threads=MAX_CONNECTIONS, in_runs=in_runs)
    source.reopen = partial(open_url, url, source.note, timeout_s=timeout_s, ca_file=ca_file, in_runs=True)
    return source
