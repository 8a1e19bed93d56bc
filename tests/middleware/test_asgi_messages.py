"""The ASGI middleware, message by message: what is held back, what is passed on, and what is on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage_ledger.emitter import EmitterFullError
from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.middleware.asgi import LineageMiddleware
from tests.middleware.asgi_calls import Answer, Application, a_scope, call
from tests.middleware.conftest import Ledger

LENGTH = (b"content-length", b"6")


async def read_all(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message["body"]
        if not message.get("more_body", False):
            return body


def answering(
    *pieces: bytes,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (LENGTH,),
    then: Exception | None = None,
) -> Application:
    """An application that reads all and answers with these pieces, or raises `then` before the last."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_all(receive)
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for place, piece in enumerate(pieces):
            if then is not None and place == len(pieces) - 1:
                raise then
            await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces) - 1})

    return app


def wrapped(ledger: Ledger, app: Application, **options: Any) -> LineageMiddleware:
    return LineageMiddleware(app, ledger.binding, commitment_key=ledger.key, **options)


def test_an_answer_carries_the_id_of_its_prediction(ledger: Ledger) -> None:
    scope = a_scope(headers=[(b"x-request-id", b"order-17")])
    answer = call(wrapped(ledger, answering(b"answer")), scope, [b"as", b"", b"ked"])
    prediction = ledger.prediction(answer.prediction_id)
    assert (answer.status, answer.body) == (200, b"answer")
    assert prediction.request_id == b"order-17"
    assert prediction.binding_row == 1
    assert prediction.duration_us > 0
    assert prediction.status_code == 0
    assert ledger.key.opens(prediction, "input", b"asked")
    assert ledger.key.opens(prediction, "output", b"answer")
    assert not ledger.key.opens(prediction, "input", b"answer")
    assert not ledger.key.opens(prediction, "output", b"asked")
    assert not ledger.key.opens(prediction, "output", b"Answer")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    answered=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    announced=st.booleans(),
    streams=st.booleans(),
    held=st.integers(0, 60),
)
def test_answers_are_passed_on_byte_for_byte(
    ledger: Ledger, asked: list[bytes], answered: list[bytes], announced: bool, streams: bool, held: int
) -> None:
    app = answering(*answered, headers=((b"content-length", b"1"),) if announced else ())
    plain = call(app, body=asked)
    before = ledger.emitted()
    recorded = call(wrapped(ledger, app, hold_streams=streams, max_held_bytes=held), body=asked)
    assert recorded.messages[1:] == plain.messages[1:]
    assert recorded.messages[0]["headers"][:-1] == plain.messages[0]["headers"]
    assert ledger.emitted() == before + 1
    if recorded.header(b"x-lineage-prediction-id"):
        prediction = ledger.prediction(recorded.prediction_id)
    else:
        (prediction,) = [
            found for found in ledger.after(0) if [found.request_id] == recorded.header(b"x-lineage-request-id")
        ]
    assert ledger.key.opens(prediction, "input", b"".join(asked))
    assert ledger.key.opens(prediction, "output", b"".join(answered))


def test_a_stream_is_not_held_back_and_says_how_to_find_its_prediction(ledger: Ledger) -> None:
    sent: list[int] = []
    app = answering(b"first", b"second", headers=())

    async def run() -> Answer:
        answer = Answer()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"asked"}

        async def send(message: Any) -> None:
            sent.append(ledger.emitted())
            answer.messages.append(message)

        await middleware(a_scope(), receive, send)
        return answer

    middleware = wrapped(ledger, app)
    before = ledger.emitted()
    answer = asyncio.run(run())
    assert sent == [before, before, before + 1]  # Start and first piece went out before there was a prediction.
    assert answer.header(b"x-lineage-prediction-id") == []
    (request_id,) = answer.header(b"x-lineage-request-id")
    (prediction,) = [found for found in ledger.after(0) if found.request_id == request_id]
    assert ledger.key.opens(prediction, "output", b"firstsecond")
    assert middleware.without_header == 1


def test_the_start_of_an_event_stream_does_not_wait_for_its_first_event(ledger: Ledger) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        seen.append(len(answer.messages))
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})

    answer = Answer()

    async def send(message: Any) -> None:
        answer.messages.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    asyncio.run(wrapped(ledger, app)(a_scope(), receive, send))
    assert seen == [1]


def test_held_streams_carry_the_id_up_to_the_bound(ledger: Ledger) -> None:
    app = answering(b"x" * 600, b"y" * 400, b"", headers=())
    within = call(wrapped(ledger, app, hold_streams=True, max_held_bytes=1_000))
    beyond = call(wrapped(ledger, app, hold_streams=True, max_held_bytes=999))
    assert ledger.key.opens(ledger.prediction(within.prediction_id), "output", b"x" * 600 + b"y" * 400)
    assert beyond.header(b"x-lineage-prediction-id") == []
    assert within.body == beyond.body


def test_an_application_that_raises_is_recorded_and_raises(ledger: Ledger) -> None:
    error = RuntimeError("the model is broken")
    answer = call(wrapped(ledger, answering(b"par", b"tial", then=error)))
    assert answer.error is error
    assert [message["type"] for message in answer.messages] == ["http.response.start", "http.response.body"]
    prediction = ledger.prediction(answer.prediction_id)
    assert prediction.status_code == 13
    assert ledger.key.opens(prediction, "output", b"par")


def test_an_application_that_raises_before_it_answers_is_recorded(ledger: Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("at once")

    before = len(ledger.after(0))
    answer = call(wrapped(ledger, app))
    assert isinstance(answer.error, RuntimeError)
    assert answer.messages == []
    (prediction,) = ledger.after(0)[before:]
    assert prediction.status_code == 13


def test_an_application_that_never_answers_is_recorded(ledger: Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_all(receive)

    before = len(ledger.after(0))
    assert call(wrapped(ledger, app)).messages == []
    assert ledger.after(0)[before].status_code == 13


def test_a_client_that_goes_is_recorded_as_cancelled(ledger: Ledger) -> None:
    before = len(ledger.after(0))
    gone = call(wrapped(ledger, answering(b"1", b"2", b"3", headers=())), gone_after=2)
    assert isinstance(gone.error, OSError)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    call(wrapped(ledger, app))

    async def cancelled(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    assert isinstance(call(wrapped(ledger, cancelled)).error, asyncio.CancelledError)
    assert [prediction.status_code for prediction in ledger.after(0)[before:]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((200, 0), (204, 0), (302, 0), (400, 3), (401, 16), (403, 7), (404, 5), (409, 10), (418, 9), (422, 3)),
        *((429, 8), (499, 1), (500, 13), (501, 12), (502, 13), (503, 14), (504, 4), (599, 13), (99, 2), (700, 2)),
    ],
)
def test_statuses_become_codes(ledger: Ledger, status: int, code: int) -> None:
    answer = call(wrapped(ledger, answering(b"answer", status=status)))
    assert answer.status == status
    assert ledger.prediction(answer.prediction_id).status_code == code


@pytest.mark.parametrize(
    "value",
    [b"", b"x" * 65, b"with space", b"tab\t", b"new\nline", b"\x00", b"\xff\xfe", "ü".encode(), b"a\x7f"],
)
def test_a_request_id_that_is_not_plain_is_replaced(ledger: Ledger, value: bytes) -> None:
    answer = call(wrapped(ledger, answering(b"answer")), a_scope(headers=[(b"x-request-id", value)]))
    request_id = ledger.prediction(answer.prediction_id).request_id
    assert len(request_id) == 16
    assert request_id.isascii()
    assert request_id != value


def test_random_request_ids_differ(ledger: Ledger) -> None:
    app = wrapped(ledger, answering(b"answer"))
    ids = {ledger.prediction(call(app).prediction_id).request_id for _ in range(20)}
    assert len(ids) == 20


def test_the_callers_request_id_can_be_left_alone(ledger: Ledger) -> None:
    app = wrapped(ledger, answering(b"answer"), request_id_header=None)
    answer = call(app, a_scope(headers=[(b"x-request-id", b"a person's name")]))
    assert b"person" not in ledger.prediction(answer.prediction_id).request_id


def test_an_id_that_the_application_put_there_is_replaced(ledger: Ledger) -> None:
    forged = ((b"X-Lineage-Prediction-Id", b"forged"), (b"x-lineage-request-id", b"forged"), LENGTH)
    answer = call(wrapped(ledger, answering(b"answer", headers=forged)))
    PredictionId.parse(answer.prediction_id)
    assert [key for key, _ in answer.messages[0]["headers"]] == [b"content-length", b"x-lineage-prediction-id"]


def test_which_requests_are_predictions(ledger: Ledger) -> None:
    app = answering(b"answer")

    def records(scope: dict[str, Any], **options: Any) -> bool:
        before = ledger.emitted()
        call(wrapped(ledger, app, **options), scope)
        return ledger.emitted() > before

    assert records(a_scope())
    assert not records(a_scope(method="GET"))
    assert records(a_scope(method="GET"), paths={"/predict"})
    assert not records(a_scope("/health"), paths={"/predict"})
    assert records(a_scope("/v2/models/a/infer"), paths=lambda scope: scope["path"].endswith("/infer"))
    assert not records(a_scope(), paths=set())


def test_what_is_not_http_passes_untouched(ledger: Ledger) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None: ...

    for kind, middleware in (
        ("websocket", wrapped(ledger, app)),
        ("lifespan", wrapped(ledger, app, close_emitter=False)),
    ):
        scope = {"type": kind}
        asyncio.run(middleware(scope, receive, send))
        assert seen.pop() == (scope, receive, send)


@pytest.mark.parametrize("closes", [True, False])
def test_the_emitter_is_drained_before_the_application_has_shut_down(ledger: Ledger, closes: bool) -> None:
    pending = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await answering(b"answer")(scope, receive, send)

    async def send(message: Any) -> None:
        pending.append((message["type"], ledger.emitter.statistics.pending))

    async def receive() -> dict[str, Any]:
        return {}

    middleware = wrapped(ledger, app, close_emitter=closes)
    first = call(middleware)
    asyncio.run(middleware({"type": "lifespan"}, receive, send))
    assert pending[0][0] == "lifespan.startup.complete"
    assert pending[1][0] == "lifespan.shutdown.complete"
    assert not closes or pending[1][1] == 0
    assert ledger.prediction(first.prediction_id).status_code == 0
    after = call(middleware)
    assert after.body == b"answer"
    assert (ledger.emitted() == 1) is closes


def test_bodies_that_would_not_pass_here_are_not_offered(ledger: Ledger) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sorted(scope["extensions"]))
        await answering(b"answer")(scope, receive, send)

    extensions: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}, "tls": {}}
    scope = a_scope(extensions=extensions)
    call(wrapped(ledger, app), scope)
    assert seen == [["tls"]]
    assert len(extensions) == 3


def test_other_messages_pass_in_their_order(ledger: Ledger) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH], "trailers": True})
        await send({"type": "http.response.body", "body": b"answer"})
        await send({"type": "http.response.trailers", "headers": []})

    kinds = [message["type"] for message in call(wrapped(ledger, app)).messages]
    assert kinds == [f"http.response.{kind}" for kind in ("early_hint", "start", "body", "trailers")]


def test_our_own_trouble_never_reaches_the_answer(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    def broken(scope: Any) -> bool:
        raise ZeroDivisionError("in the user's predicate")

    middleware = wrapped(ledger, answering(b"answer"), paths=broken)
    with caplog.at_level(logging.ERROR, logger="lineage_ledger.middleware"):
        answers = [call(middleware) for _ in range(3)]
    assert [answer.body for answer in answers] == [b"answer"] * 3
    assert [answer.error for answer in answers] == [None] * 3
    assert middleware.recorder.failures == 3
    assert len(caplog.records) == 1

    async def strange(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": "text, which is not bytes"})

    middleware = wrapped(ledger, strange)
    assert call(middleware).messages[1]["body"] == "text, which is not bytes"
    assert middleware.recorder.failures == 1


def test_a_closed_emitter_never_reaches_the_answer(make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger()
    ledger.emitter.close(10)
    answer = call(wrapped(ledger, answering(b"answer")))
    assert (answer.body, answer.error) == (b"answer", None)


def test_fail_closed_sends_nothing_that_is_not_on_record(make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(fail_closed=True)
    ledger.emitter.close(10)
    answer = call(wrapped(ledger, answering(b"ans", b"wer")))
    assert isinstance(answer.error, LineageError)
    assert not isinstance(answer.error, EmitterFullError)
    assert answer.messages == []


@pytest.mark.parametrize("options", [{"paths": "/predict"}, {"header": "two words"}, {"header": ""}])
def test_wrong_settings_are_refused(ledger: Ledger, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        wrapped(ledger, answering(b"answer"), **options)
