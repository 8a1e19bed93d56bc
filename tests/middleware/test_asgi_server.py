"""The ASGI middleware in a real server: uvicorn, Starlette, real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lineage_ledger.middleware.asgi import LineageMiddleware
from tests.middleware.conftest import Ledger

ID = "x-lineage-prediction-id"
goes_on = threading.Event()


async def predict(request: Request) -> Response:
    return JSONResponse({"sum": sum(await request.json())})


async def stream(request: Request) -> Response:
    async def tokens() -> AsyncIterator[bytes]:
        yield b"first "
        while not goes_on.is_set():
            await asyncio.sleep(0.005)
        yield b"last"

    return StreamingResponse(tokens(), media_type="text/plain")


async def fails(request: Request) -> Response:
    raise RuntimeError("the model is broken")


async def file(request: Request) -> Response:
    return FileResponse(__file__)


ROUTES = [
    Route("/predict", predict, methods=["POST"]),
    Route("/stream", stream, methods=["POST"]),
    Route("/fails", fails, methods=["POST"]),
    Route("/file", file, methods=["POST"]),
]


@contextmanager
def serving(app: Any) -> Iterator[httpx.Client]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as client:
            while not server.started:
                time.sleep(0.01)
            yield client
    finally:
        goes_on.set()
        server.should_exit = True
        thread.join()
        listener.close()
        goes_on.clear()


@pytest.fixture
def client(ledger: Ledger) -> Iterator[httpx.Client]:
    app = LineageMiddleware(Starlette(routes=ROUTES), ledger.binding, commitment_key=ledger.key, close_emitter=False)
    with serving(app) as opened:
        yield opened


def test_many_requests_at_once_get_the_ids_of_their_own_predictions(ledger: Ledger, client: httpx.Client) -> None:
    async def send() -> list[tuple[bytes, httpx.Response]]:
        async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as many:
            bodies = [json.dumps([number, number]).encode() for number in range(200)]
            return list(zip(bodies, await asyncio.gather(*(many.post("/predict", content=body) for body in bodies))))

    found = asyncio.run(send())
    assert len({answer.headers[ID] for _, answer in found}) == 200
    for body, answer in found:
        assert answer.json() == {"sum": 2 * json.loads(body)[0]}
        prediction = ledger.prediction(answer.headers[ID])
        assert ledger.key.opens(prediction, "input", body)
        assert ledger.key.opens(prediction, "output", answer.content)


def test_chunked_bodies_and_files_are_committed_to_as_a_whole(ledger: Ledger, client: httpx.Client) -> None:
    answer = client.post("/predict", content=(piece for piece in (b"[1", b",2", b",3]")))
    assert ledger.key.opens(ledger.prediction(answer.headers[ID]), "input", b"[1,2,3]")
    answer = client.post("/file")
    prediction = ledger.prediction(answer.headers[ID])
    assert ledger.key.opens(prediction, "output", answer.content)
    assert len(answer.content) > 1_000


def test_a_stream_reaches_its_client_piece_by_piece(ledger: Ledger, client: httpx.Client) -> None:
    with client.stream("POST", "/stream", content=b"", headers={"x-request-id": "stream-1"}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first "  # While the application still waits.
        goes_on.set()
        assert b"".join(pieces) == b"last"
    assert ID not in answer.headers
    assert answer.headers["x-lineage-request-id"] == "stream-1"
    (prediction,) = [found for found in ledger.after(0) if found.request_id == b"stream-1"]
    assert ledger.key.opens(prediction, "output", b"first last")


def test_a_client_that_leaves_a_stream_is_recorded(ledger: Ledger, client: httpx.Client) -> None:
    with client.stream("POST", "/stream", content=b"", headers={"x-request-id": "left"}) as answer:
        assert next(answer.iter_raw()) == b"first "
    found: list[int] = []
    for _ in range(200):
        if found := [logged.status_code for logged in ledger.after(0) if logged.request_id == b"left"]:
            break
        time.sleep(0.02)
    assert found == [1]


def test_failures_answer_as_without_the_middleware(ledger: Ledger, client: httpx.Client) -> None:
    answer = client.post("/fails")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert ledger.prediction(answer.headers[ID]).status_code == 13
    answer = client.post("/nowhere")
    assert answer.status_code == 404
    assert ledger.prediction(answer.headers[ID]).status_code == 5


@pytest.mark.parametrize("inside", [True, False])
def test_among_other_middleware(ledger: Ledger, inside: bool) -> None:
    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    # What arrives in pieces from one of them is a stream once the other has compressed it.
    ours = Middleware(LineageMiddleware, binding=ledger.binding, commitment_key=ledger.key, hold_streams=not inside)
    others = [Middleware(GZipMiddleware, minimum_size=1), Middleware(BaseHTTPMiddleware, dispatch=pass_on)]
    app = Starlette(routes=ROUTES, middleware=[*others, ours] if inside else [ours, *others])
    with serving(app) as client, client.stream("POST", "/predict", content=b"[1]") as answer:
        raw = b"".join(answer.iter_raw())
        prediction = ledger.prediction(answer.headers[ID])
    assert answer.headers["content-encoding"] == "gzip"
    assert ledger.key.opens(prediction, "output", raw) is not inside
    assert ledger.key.opens(prediction, "output", b'{"sum":1}') is inside


def test_what_was_emitted_is_acknowledged_when_the_server_has_stopped(ledger: Ledger) -> None:
    app = LineageMiddleware(Starlette(routes=ROUTES), ledger.binding, commitment_key=ledger.key)
    with serving(app) as client:
        for _ in range(50):
            client.post("/predict", content=b"[1]")
    assert ledger.emitter.statistics.acknowledged == ledger.emitter.statistics.emitted == 50
