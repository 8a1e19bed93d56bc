"""ASGI 3 middleware: one prediction for each request, its id in the answer's header.

    app = LineageMiddleware(app, Emitter.from_settings().bind(deployment))

The input commitment is to the bytes of the request's body that the application read, the output commitment to the
bytes of the answer's body, both as they pass here: put this outside of what changes bodies, such as compression, if
those outside are to be committed to.

An id exists once the whole answer is known, and a header is sent before it. So an answer whose length is announced, or
that comes in one piece, is held back until it is complete, at most `max_held_bytes` of it. A stream is not held back,
for its first piece would wait for its last: it carries the header `x-lineage-request-id`, by which its prediction is
found (`lineage find --request-id`). `hold_streams=True` holds streams too, up to the same bound.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from lineage_ledger.emitter import Binding
from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.middleware.commitment_key import CommitmentKey
from lineage_ledger.middleware.http_status import CANCELLED, INTERNAL, rpc_code
from lineage_ledger.middleware.recording import Recorder, Recording

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PREDICTION_ID_HEADER: Final = "x-lineage-prediction-id"
REQUEST_ID_HEADER: Final = b"x-lineage-request-id"

_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_SHUT_DOWN: Final = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})
# With these an application hands over a body by the name of its file; no byte of it would pass here.
_BODIES_UNSEEN: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class LineageMiddleware:
    """Puts the predictions that an ASGI application makes on record. Answers are passed on byte for byte."""

    def __init__(
        self,
        app: Application,
        binding: Binding,
        *,
        commitment_key: CommitmentKey | None = None,
        paths: Collection[str] | Callable[[Scope], bool] | None = None,
        header: str = PREDICTION_ID_HEADER,
        request_id_header: str | None = "x-request-id",
        max_held_bytes: int = 1 << 20,
        hold_streams: bool = False,
        close_emitter: bool = True,
    ) -> None:
        """Requests to `paths` are predictions, or those that it says yes to; without it, every POST.

        Without `commitment_key` it is that of `CommitmentKey.from_settings`. The caller's `request_id_header` is
        recorded, readable to all readers of the ledger, if it is 1 to 64 bytes of visible ASCII; None: never.
        With `close_emitter` the emitter is drained and closed when the application shuts down (ASGI lifespan). Raises
        `SettingsError`, `InvalidKeyError`.
        """
        if isinstance(paths, str):
            raise SettingsError(f"paths must be a collection of paths, such as {{{paths!r}}}, not one text")
        if not _HEADER_NAME.fullmatch(header.lower()):
            raise SettingsError(f"{header!r} cannot name a header")
        self.recorder = Recorder(binding, commitment_key)
        self.without_header = 0
        """Answers that were sent before their prediction had its id."""
        self.header = header.lower().encode()
        self.max_held_bytes = max_held_bytes
        self.hold_streams = hold_streams
        self._app = app
        self._close_emitter = close_emitter
        self._paths = paths
        self._request_id_header = request_id_header.lower().encode() if request_id_header else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server, once for each connection or request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send) if self._close_emitter else send)
            return
        recording = self._begin(scope) if scope["type"] == "http" else None
        if recording is None:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self, recording, receive, send)
        try:
            await self._app(_with_visible_bodies(scope), exchange.receive, exchange.send)
        except Exception:
            with suppress(OSError):  # The client has gone; what the application raised says more.
                await exchange.end()
            raise
        except BaseException:  # Cancelled: nothing can be awaited any more.
            recording.emit(CANCELLED)
            raise
        await exchange.end()

    def _closing(self, send: Send) -> Send:
        """Closes the emitter when the application says that it has shut down: no request comes after that.

        Servers end themselves by the signal that stopped them, and so never run what waits for the process's exit.
        """

        async def closing(message: Message) -> None:
            if message["type"] in _SHUT_DOWN:
                emitter = self.recorder.binding.emitter
                emitter.close(emitter.policy.exit_timeout_s)
            await send(message)

        return closing

    def _begin(self, scope: Scope) -> Recording | None:
        """A recording, if the request is for a prediction."""
        paths = self._paths
        try:
            if paths is None:
                wanted = scope["method"] == "POST"
            else:
                wanted = paths(scope) if callable(paths) else scope["path"] in paths
            if not wanted:
                return None
            name = self._request_id_header
            request_id = next((value for key, value in scope["headers"] if key == name), b"") if name else b""
        except Exception as error:  # noqa: BLE001 - nothing of ours fails a request
            self.recorder.report(error)
            return None
        return self.recorder.begin(request_id)


class _Exchange:
    """One request and its answer on their way through."""

    __slots__ = (
        "_disconnected", "_held", "_holds", "_is_complete", "_middleware", "_receive", "_recording", "_room", "_send",
        "_start", "_status_code",
    )  # fmt: skip

    def __init__(self, middleware: LineageMiddleware, recording: Recording, receive: Receive, send: Send) -> None:
        self._middleware = middleware
        self._recording = recording
        self._receive = receive
        self._send = send
        self._start: Message | None = None
        """The answer's start while it is held back, and the pieces of its body behind it."""
        self._held: list[Message] = []
        self._room = middleware.max_held_bytes
        self._holds = False
        self._status_code = INTERNAL
        self._is_complete = False
        self._disconnected = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._recording.received(message.get("body", b""))
        else:
            self._disconnected = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            await self._begin_answer(message)
        elif kind == "http.response.body" and not self._is_complete:
            await self._continue_answer(message)
        else:
            await self._pass_on(message)

    async def end(self) -> None:
        """The application returned or raised: whatever is incomplete stays so."""
        if not self._is_complete:
            await self._release(self._emit(CANCELLED if self._disconnected else INTERNAL))

    async def _begin_answer(self, message: Message) -> None:
        self._start = message
        self._status_code = rpc_code(message.get("status"))
        self._holds = self._middleware.hold_streams or _header(message, b"content-length") != b""
        if not self._holds and _header(message, b"content-type").startswith(b"text/event-stream"):
            await self._release(None)  # Its client waits for the headers, before any event.

    async def _continue_answer(self, message: Message) -> None:
        body = message.get("body", b"")
        self._recording.answered(body)
        if not message.get("more_body", False):
            self._is_complete = True
            await self._release(self._emit(self._status_code))
        elif self._start is not None:
            self._room -= len(body)
            if self._holds and self._room >= 0:
                self._held.append(message)
                return
            await self._release(None)
        await self._pass_on(message)

    def _emit(self, status_code: int) -> PredictionId | None:
        try:
            return self._recording.emit(status_code)
        except LineageError:  # Fail-closed: what was held back is never sent.
            self._start = None
            self._held.clear()
            raise

    async def _release(self, prediction_id: PredictionId | None) -> None:
        """Send the start, if it is still held back, and what waits behind it."""
        if self._start is None:
            return
        start, self._start = self._start, None
        await self._pass_on(self._with_header(start, prediction_id))
        for message in self._held:
            await self._pass_on(message)
        self._held.clear()

    def _with_header(self, start: Message, prediction_id: PredictionId | None) -> Message:
        name = self._middleware.header
        if prediction_id is not None:
            ours = (name, str(prediction_id).encode())
        else:
            self._middleware.without_header += 1
            ours = (REQUEST_ID_HEADER, self._recording.request_id)
        # What the application put there itself, or passed on from elsewhere, is no id of this prediction.
        headers = [pair for pair in start.get("headers", ()) if pair[0].lower() not in (name, REQUEST_ID_HEADER)]
        return {**start, "headers": [*headers, ours]}

    async def _pass_on(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # How servers say that the client has gone.
            self._disconnected = True
            raise


def _header(message: Message, name: bytes) -> bytes:
    return next((value for key, value in message.get("headers", ()) if key.lower() == name), b"")


def _with_visible_bodies(scope: Scope) -> Scope:
    """The scope without the extensions by which a body would not pass through here."""
    extensions = scope.get("extensions")
    if not extensions or _BODIES_UNSEEN.isdisjoint(extensions):
        return scope
    return {**scope, "extensions": {name: extensions[name] for name in extensions if name not in _BODIES_UNSEEN}}
