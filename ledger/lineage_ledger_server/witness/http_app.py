"""The witness over HTTP: one POST, its body bounded while it is read, and one GET for whoever watches logs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.witness_protocol import MAX_REQUEST_BYTES, PATH
from lineage_ledger_server.witness.witness import Answer, Witness

_log = structlog.get_logger(__name__)

_TOO_LONG = b"the request is longer than any of its kind\n"


def make_app(witness: Witness) -> Starlette:
    """The ASGI application of `witness`; its submission and monitoring prefix is the root of the server."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if body is None:  # what comes behind it is not waited for
            return Response(_TOO_LONG, HTTPStatus.BAD_REQUEST, {"connection": "close"}, "text/plain")
        return _response(await run_in_threadpool(_answer, partial(witness.add_checkpoint, body)))

    def newest_checkpoint(request: Request) -> Response:
        return _response(_answer(partial(witness.newest_checkpoint, request.path_params["origin_hash"])))

    routes = [
        Route(PATH, add_checkpoint, methods=["POST"]),
        Route("/{origin_hash}/checkpoint", newest_checkpoint, methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False  # a path has one spelling
    return app


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {"content-type": answer.content_type, "cache-control": "no-cache"})


def _answer(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except LineageError as error:
        _log.error("the witness cannot cosign", cause=str(error))
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"the witness cannot keep its record; nothing was cosigned\n")


async def _body(request: Request) -> bytes | None:
    """None if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            return None
    return bytes(body)
