"""The witness over HTTP: one POST, its body bounded while it is read."""

from __future__ import annotations

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
    """The ASGI application of `witness`; its submission prefix is the root of the server."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if body is None:  # what comes behind it is not waited for
            return Response(_TOO_LONG, HTTPStatus.BAD_REQUEST, {"connection": "close"}, "text/plain")
        answer = await run_in_threadpool(_answer, witness, body)
        return Response(answer.body, answer.status, {"content-type": answer.content_type})

    return Starlette(routes=[Route(PATH, add_checkpoint, methods=["POST"])])


def _answer(witness: Witness, body: bytes) -> Answer:
    try:
        return witness.add_checkpoint(body)
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
