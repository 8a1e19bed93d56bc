"""The gRPC interceptors on real servers, synchronous and asyncio: every arity, errors, streams, and who goes early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from lineage_ledger.errors import SettingsError
from lineage_ledger.middleware.grpc_server import AioLineageInterceptor, LineageInterceptor
from tests.middleware.conftest import Ledger

SERVICE = "test.Model"
KEY = "x-lineage-prediction-id"
ONE, STREAM = b"asked", [b"a", b"", b"sked" * 100]


def framed(*messages: bytes) -> bytes:
    """As gRPC frames messages that are not compressed."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)


def text(data: bytes) -> str:
    return data.decode("latin-1")


def data(message: str | bytes) -> bytes:
    # grpc.aio makes bytes of text before it asks the serialiser.
    return message if isinstance(message, bytes) else message.encode("latin-1")


class Model:
    """Handlers take and give text, so that what travels is not what they see."""

    def unary_unary(self, request: str, context: Any) -> str:
        if request == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        if request == "raise":
            raise RuntimeError("the model is broken")
        if request == "code":
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        if request == "strange":
            return cast(str, 17)  # Does not serialise.
        context.set_trailing_metadata((("theirs", "stays"),))
        return request + "!"

    def unary_stream(self, request: str, context: Any) -> Iterator[str]:
        yield from request
        if request == "raise":
            raise RuntimeError("the model is broken")

    def stream_unary(self, requests: Iterator[str], context: Any) -> str:
        return "".join(requests)

    def stream_stream(self, requests: Iterator[str], context: Any) -> Iterator[str]:
        for request in requests:
            yield request + "!"


def handlers(model: Any) -> grpc.GenericRpcHandler:
    names = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {name: getattr(grpc, f"{name}_rpc_method_handler")(getattr(model, name), text, data) for name in names},
    )


@contextmanager
def serving(ledger: Ledger, model: Any, **options: Any) -> Iterator[Any]:
    interceptor = LineageInterceptor(ledger.binding, commitment_key=ledger.key, **options)
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[interceptor])
    server.add_generic_rpc_handlers((handlers(model),))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        server.stop(None).wait()


def id_in(call: Any) -> str:
    (value,) = [value for key, value in call.trailing_metadata() if key == KEY]
    return str(value)


def failed(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_one_request_one_answer(ledger: Ledger) -> None:
    with serving(ledger, Model()) as channel:
        stub = channel.unary_unary(f"/{SERVICE}/unary_unary")
        answer, call = stub.with_call(ONE, timeout=10, metadata=(("x-request-id", "order-17"),))
    assert answer == b"asked!"
    assert ("theirs", "stays") in call.trailing_metadata()
    prediction = ledger.prediction(id_in(call))
    assert (prediction.request_id, prediction.status_code) == (b"order-17", 0)
    assert ledger.key.opens(prediction, "input", ONE)
    assert ledger.key.opens(prediction, "output", b"asked!")


def test_streams_are_committed_to_as_a_whole(ledger: Ledger) -> None:
    with serving(ledger, Model()) as channel:
        up = channel.stream_unary(f"/{SERVICE}/stream_unary").with_call(iter(STREAM), timeout=10)
        down = channel.unary_stream(f"/{SERVICE}/unary_stream")(ONE, timeout=10)
        downs = list(down)
        both = channel.stream_stream(f"/{SERVICE}/stream_stream")(iter(STREAM), timeout=10)
        boths = list(both)
        ids = [id_in(up[1]), id_in(down), id_in(both)]
    assert (up[0], b"".join(downs), boths) == (b"".join(STREAM), ONE, [piece + b"!" for piece in STREAM])
    expected = [(framed(*STREAM), up[0]), (ONE, framed(*downs)), (framed(*STREAM), framed(*boths))]
    for prediction_id, (asked, answered) in zip(ids, expected):
        prediction = ledger.prediction(prediction_id)
        assert ledger.key.opens(prediction, "input", asked)
        assert ledger.key.opens(prediction, "output", answered)
        assert not ledger.key.opens(prediction, "output", answered + b"\0")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"abort", grpc.StatusCode.NOT_FOUND, 5),
        (b"raise", grpc.StatusCode.UNKNOWN, 2),
        (b"code", grpc.StatusCode.RESOURCE_EXHAUSTED, 8),
        (b"strange", grpc.StatusCode.INTERNAL, 13),
    ],
)
def test_failures_are_recorded_and_stay_what_they_are(
    ledger: Ledger, request_: bytes, status: grpc.StatusCode, code: int
) -> None:
    with serving(ledger, Model()) as channel:
        error = failed(lambda: channel.unary_unary(f"/{SERVICE}/unary_unary")(request_, timeout=10))
        assert error.code() is status
        prediction = ledger.prediction(id_in(error))
    assert prediction.status_code == code
    assert ledger.key.opens(prediction, "input", request_)


def test_a_stream_that_breaks_is_recorded(ledger: Ledger) -> None:
    with serving(ledger, Model()) as channel:
        error = failed(lambda: list(channel.unary_stream(f"/{SERVICE}/unary_stream")(b"raise", timeout=10)))
        prediction = ledger.prediction(id_in(error))
    assert prediction.status_code == 2
    assert ledger.key.opens(prediction, "output", framed(b"r", b"a", b"i", b"s", b"e"))


def test_a_client_that_goes_is_recorded_as_cancelled(ledger: Ledger) -> None:
    goes_on = threading.Event()

    class Endless(Model):
        def unary_stream(self, request: str, context: Any) -> Iterator[str]:
            while context.is_active():
                yield "more"
                goes_on.wait(0.05)

    before = len(ledger.after(0))
    with serving(ledger, Endless()) as channel:
        call = channel.unary_stream(f"/{SERVICE}/unary_stream")(ONE, timeout=10)
        next(iter(call))
        call.cancel()
        for _ in range(100):
            if found := ledger.after(0)[before:]:
                break
            goes_on.wait(0.05)
    assert [prediction.status_code for prediction in found] in ([1], [0])  # The handler may end by itself first.


def test_which_calls_are_predictions(ledger: Ledger) -> None:
    def emitted(**options: Any) -> int:
        before = ledger.emitted()
        with serving(ledger, Model(), **options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert channel.unary_unary(f"/{SERVICE}/unary_unary")(ONE, timeout=10) == b"asked!"
        return ledger.emitted() - before

    assert emitted() == 1
    assert emitted(methods={f"/{SERVICE}/unary_unary"}) == 1
    assert emitted(methods={f"/{SERVICE}/other"}) == 0
    assert emitted(methods=lambda method: method.startswith("/grpc.health")) == 1
    assert emitted(methods=lambda method: 1 / 0) == 0  # What the user gave is broken; the calls are not.
    with pytest.raises(SettingsError):
        LineageInterceptor(ledger.binding, methods="/one")


def test_unknown_methods_stay_unknown(ledger: Ledger) -> None:
    before = ledger.emitted()
    with serving(ledger, Model()) as channel:
        error = failed(lambda: channel.unary_unary(f"/{SERVICE}/nothing")(ONE, timeout=10))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert ledger.emitted() == before


def test_many_calls_at_once_keep_their_own_ids(ledger: Ledger) -> None:
    with serving(ledger, Model()) as channel, ThreadPoolExecutor(8) as pool:
        stub = channel.unary_unary(f"/{SERVICE}/unary_unary")

        def one(number: int) -> tuple[bytes, str]:
            asked = b"%d" % number
            answer, call = stub.with_call(asked, timeout=10)
            assert answer == asked + b"!"
            return asked, id_in(call)

        found = list(pool.map(one, range(100)))
    for asked, prediction_id in found:
        assert ledger.key.opens(ledger.prediction(prediction_id), "input", asked)


class AioModel:
    async def unary_unary(self, request: str, context: Any) -> str:
        if request == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        if request == "raise":
            raise RuntimeError("the model is broken")
        return request + "!"

    async def unary_stream(self, request: str, context: Any) -> AsyncIterator[str]:
        for piece in request:
            yield piece

    async def stream_unary(self, requests: AsyncIterator[str], context: Any) -> str:
        return "".join([request async for request in requests])

    async def stream_stream(self, requests: AsyncIterator[str], context: Any) -> None:
        async for request in requests:
            await context.write(request + "!")


@pytest.mark.parametrize("model", [AioModel(), Model()], ids=["coroutines", "functions"])
def test_asyncio_servers(ledger: Ledger, model: Any) -> None:
    async def run() -> list[tuple[str | None, bytes, bytes, int]]:
        interceptor = AioLineageInterceptor(ledger.binding, commitment_key=ledger.key)
        server = grpc.aio.server(ThreadPoolExecutor(4), interceptors=[interceptor])
        server.add_generic_rpc_handlers((handlers(model),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        expected: list[tuple[str | None, bytes, bytes, int]] = []

        async def note(call: Any, asked: bytes, answered: bytes, code: int = 0) -> None:
            ids = [value for key, value in await call.trailing_metadata() if key == KEY]
            expected.append((ids[0] if ids else None, asked, answered, code))

        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
            channel: Any = opened  # Messages are bytes, which its types do not know without serialisers.
            one = channel.unary_unary(f"/{SERVICE}/unary_unary")(ONE, timeout=10)
            await note(one, ONE, await one)
            for request, code in ((b"abort", 5), (b"raise", 2)):
                call = channel.unary_unary(f"/{SERVICE}/unary_unary")(request, timeout=10)
                with pytest.raises(grpc.aio.AioRpcError):
                    await call
                await note(call, request, b"", code)
            down = channel.unary_stream(f"/{SERVICE}/unary_stream")(ONE, timeout=10)
            await note(down, ONE, framed(*[piece async for piece in down]))
            if isinstance(model, AioModel):
                up = channel.stream_unary(f"/{SERVICE}/stream_unary")(iter(STREAM), timeout=10)
                await note(up, framed(*STREAM), await up)
                both = channel.stream_stream(f"/{SERVICE}/stream_stream")(iter(STREAM), timeout=10)
                await note(both, framed(*STREAM), framed(*[piece async for piece in both]))
        await server.stop(None)
        assert interceptor.recorder.failures == 0
        return expected

    before = len(ledger.after(0))
    expected = asyncio.run(run())
    for (prediction_id, asked, answered, code), logged in zip(expected, ledger.after(0)[before:], strict=True):
        if isinstance(model, AioModel) and asked != b"abort":
            assert prediction_id is not None
            assert ledger.prediction(prediction_id) == logged
        # The contexts of plain functions do not tell the code they aborted with.
        assert logged.status_code == (code if isinstance(model, AioModel) or not code else 2)
        assert ledger.key.opens(logged, "input", asked)
        assert ledger.key.opens(logged, "output", answered)
