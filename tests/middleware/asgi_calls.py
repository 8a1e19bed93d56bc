"""Calls an ASGI application as a server would, one message at a time, and keeps what it sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass
class Answer:
    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.messages[0]["headers"] if key == name]

    @property
    def prediction_id(self) -> str:
        (value,) = self.header(b"x-lineage-prediction-id")
        return value.decode()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


def a_scope(
    path: str = "/predict", method: str = "POST", headers: Iterable[tuple[bytes, bytes]] = (), **more: Any
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        **more,
    }


def call(
    app: Application,
    scope: MutableMapping[str, Any] | None = None,
    body: Iterable[bytes] = (b"asked",),
    *,
    gone_after: int | None = None,
) -> Answer:
    """Runs one request. After `gone_after` messages sending fails, as it does when the client has gone."""
    answer = Answer()
    pieces = list(body)
    waiting: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
        for place, piece in enumerate(pieces)
    ]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if gone_after is not None and len(answer.messages) >= gone_after:
            raise OSError("client disconnected")
        answer.messages.append(dict(message))

    async def run() -> None:
        try:
            await app(scope or a_scope(), receive, send)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what it raised is looked at
            answer.error = error

    asyncio.run(run())
    return answer
