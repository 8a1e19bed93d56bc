"""The log over HTTP (C2SP tlog-tiles v1.0.0): GET and HEAD, each path in one spelling, nothing that is not verified.

Tiles and bundles are the same for ever, so that caches may keep them; only the checkpoint changes. There are no ETags:
for what never changes nobody asks again, and the checkpoint is smaller than the answer that it did not change.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lineage_ledger.errors import LineageError
from lineage_ledger_server.errors import NotFoundError, NotWitnessedError, StoreError
from lineage_ledger_server.static.published import PublishedLog
from lineage_ledger_server.static.resources import Resource, resource_at

_log = structlog.get_logger(__name__)

HEALTH_PATH: Final = "healthz"
_TEXT: Final = "text/plain; charset=utf-8"
# For browsers: any page may read what is public anyhow, and none may take it for something else than it is.
_EVERYWHERE: Final = {"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff"}
_ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
# They do not change either, but who asks is at the log's end, and soon further: caches need not fill with them.
_FOR_AN_HOUR: Final = {"Cache-Control": "public, max-age=3600, immutable"}
_RETRY_S: Final = 5
# The least: entries are mostly hashes, and more effort makes them no smaller.
_GZIP_LEVEL: Final = 1


def http_app(log: PublishedLog) -> Starlette:
    """The application that serves `log`."""

    def answer(request: Request) -> Response:
        return _answer(log, request)

    # One route for all: what a path names is for `resource_at` to say, from the bytes that came.
    return Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])],
        exception_handlers={HTTPException: _refuse},
    )


def _answer(log: PublishedLog, request: Request) -> Response:
    path = request.scope["raw_path"].decode("ascii", "replace").removeprefix("/")
    try:
        if request.scope["query_string"]:
            raise NotFoundError("what is here has no query; leave out the question mark and what is behind it")
        if path == "":
            return _plain(200, _about(log))
        if path == HEALTH_PATH:
            return _plain(200, _health(log))
        return _found(resource_at(path, log), request)
    except NotFoundError as error:
        return _plain(404, f"not found: {error}\n")
    except NotWitnessedError as error:
        return _plain(503, f"not yet: {error}\n", {"Retry-After": str(_RETRY_S)})
    except StoreError as error:
        _log.error("cannot read the log; not served", path=path, error=str(error))
        return _plain(503, f"not available: {error}\n", {"Retry-After": str(_RETRY_S)})
    except LineageError as error:
        _log.error("stored bytes are corrupt; not served", path=path, error=str(error))
        return _plain(500, f"not served: {error}\n")


def _found(resource: Resource, request: Request) -> Response:
    body, headers = resource.body, dict(_EVERYWHERE)
    headers |= _ASK_AGAIN if resource.changes else _FOR_AN_HOUR if resource.partial else _FOR_EVER
    if resource.is_bundle:
        headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(",".join(request.headers.getlist("accept-encoding"))):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
    # Not as media_type, to which a charset might be added.
    return Response(body, headers={**headers, "Content-Type": resource.content_type})


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding (RFC 9110, 12.5.3) lets gzip be sent; what cannot be read does not."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            weights[coding.strip()] = float(weight) if name == "q" else 1.0 if not parameter else 0.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text, status, headers={**_EVERYWHERE, **_ASK_AGAIN, **(headers or {}), "Content-Type": _TEXT})


async def _refuse(_: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: other methods, mostly."""
    assert isinstance(error, HTTPException)
    return _plain(error.status_code, f"refused: {error.detail}\n", error.headers)


def _health(log: PublishedLog) -> str:
    """Reads as far as every answer must: the published head, and that the right edge of the tree has its root."""
    size = log.reader.head().size
    log.reader.leaf_hash(size - 1)
    return f"ok, {size} entries\n"


def _about(log: PublishedLog) -> str:
    keys, checkpoint = log.keys(), log.checkpoint()
    return f"""{checkpoint.origin}: a log that anyone can verify (Lineage Ledger; C2SP tlog-tiles v1.0.0)

verifier key: {keys.verifier_at(checkpoint.size)}
entries: {checkpoint.size}

/checkpoint                     the newest signed checkpoint
/tile/<level>/<number>          256 hashes of the tree, 32 bytes each; .p/<width> behind it: the first of them
/tile/entries/<number>          256 entries, each behind its length (2 bytes, big-endian); .p/<width> likewise

A number is written in groups of three digits, all but the last behind an x: x001/x234/067 is 1234067.
A key that you read here shows nothing: take it from whom you trust by another way, and pin it.
"""
