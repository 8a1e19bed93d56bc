"""Requests to the demo's model server, and what came back."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.middleware.asgi import PREDICTION_ID_HEADER
from lineage_ledger_server.demo.shell import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

_CONNECTIONS: Final = 16


class Exchange(NamedTuple):
    """One request with its answer, byte for byte."""

    prediction_id: PredictionId
    request_id: str
    asked: bytes
    answered: bytes


class Traffic(NamedTuple):
    """All that was sent."""

    exchanges: list[Exchange]
    seconds: float


def send(url: str, rows: Path, requests: int) -> Traffic:
    """Send `requests` requests over 16 connections, with the measurements in a CSV file, over and over.

    Raises `DemoError` unless every answer is good and carries an id of its own.
    """
    with rows.open(newline="") as file:
        _, *lines = csv.reader(file)
    bodies = [json.dumps({"features": [float(value) for value in line[:-1]]}).encode() for line in lines]
    started_s = time.perf_counter()
    with _progress(requests) as advance:
        exchanges = asyncio.run(_send(url, bodies, requests, advance))
    if len({exchange.prediction_id for exchange in exchanges}) != requests:
        raise DemoError("two answers carried the same prediction id")
    return Traffic(exchanges, time.perf_counter() - started_s)


async def _send(url: str, bodies: list[bytes], requests: int, advance: Callable[[], None]) -> list[Exchange]:
    import httpx

    numbers = iter(range(requests))
    exchanges: list[Exchange] = []

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:  # Shared by all workers: each takes the next one.
            exchanges.append(await _exchange(client, url, f"demo-{number:06}", bodies[number % len(bodies)]))
            advance()

    # No proxy: what the user's environment says of those is not for the loopback interface.
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        try:
            await asyncio.gather(*(work(client) for _ in range(_CONNECTIONS)))
        except httpx.HTTPError as error:
            raise DemoError(f"a request to {url} failed: {error!r}") from error
    exchanges.sort(key=lambda exchange: exchange.request_id)
    return exchanges


async def _exchange(client: httpx.AsyncClient, url: str, request_id: str, body: bytes) -> Exchange:
    headers = {"content-type": "application/json", "x-request-id": request_id}
    answer = await client.post(url, content=body, headers=headers)
    prediction_id = answer.headers.get(PREDICTION_ID_HEADER)
    if answer.status_code != 200 or prediction_id is None:
        raise DemoError(f"{url} answered {answer.status_code} without a prediction id: {answer.text[:200]}")
    return Exchange(PredictionId.parse(prediction_id), request_id, body, answer.content)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(TextColumn("    sending"), BarColumn(), MofNCompleteColumn(), transient=True) as bar:
        task = bar.add_task("sending", total=total)
        yield lambda: bar.advance(task)
