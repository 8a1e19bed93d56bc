"""What clients leave lying about in the server is bounded, and their neighbours are served meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineage_ledger.v1 import append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from lineage_ledger_server.services import calls
from lineage_ledger_server.services.access import AccessPolicy
from lineage_ledger_server.services.memory import MemoryReturn, resident_bytes
from lineage_ledger_server.serving import endpoint
from lineage_ledger_server.serving.endpoint import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    Endpoint,
    Health,
)
from lineage_ledger_server.serving.loop import made_on_loop
from tests.support.http2 import RawConnection
from tests.support.processes import eventually
from tests.support.rpc import is_serving, reason_of, registered
from tests.support.server import RunningServer

GET_ENTRY = "/lineage_ledger.v1.EntryService/GetEntry"
ANSWER_BYTES = 1024 * 1024


class LargeEntries(entries_pb2_grpc.EntryServiceServicer):
    """Each entry is a MiB."""

    def GetEntry(self, request: entries_pb2.GetEntryRequest, context: Any) -> entries_pb2.GetEntryResponse:
        return entries_pb2.GetEntryResponse(entry=bytes(ANSWER_BYTES))


@contextmanager
def serving_large_entries() -> Iterator[str]:
    """A server of them; its address."""
    server = Endpoint(AccessPolicy(), made_on_loop(Health), [], workers=2, max_calls=256)
    server.add(entries_pb2_grpc.add_EntryServiceServicer_to_server, LargeEntries())
    address = server.listen("127.0.0.1:0", None)
    server.start()
    yield address
    server.begin_stop(0).result()
    server.close()


@pytest.fixture
def large_entries() -> Iterator[str]:
    with serving_large_entries() as address:
        yield address


def get_entry(address: str) -> int:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = entries_pb2_grpc.EntryServiceStub(channel)
        return len(stub.GetEntry(entries_pb2.GetEntryRequest(), timeout=10).entry)


def test_answers_that_nobody_reads_are_bounded_and_come_free_with_their_client(
    large_entries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "MAX_UNREAD_BYTES", 8 * (ANSWER_BYTES + 2 * calls._CALL_BYTES))
    for _ in range(20):  # what is read is not counted
        assert get_entry(large_entries) == ANSWER_BYTES
    with RawConnection(large_entries) as client:
        for _ in range(7):
            client.call(GET_ENTRY)
        time.sleep(0.5)
        assert get_entry(large_entries) == ANSWER_BYTES
        client.call(GET_ENTRY)
        time.sleep(0.5)
        with pytest.raises(grpc.RpcError) as refused:
            get_entry(large_entries)
        assert reason_of(refused.value)[1:] == (
            "LIMIT_EXCEEDED",
            {"limit": "max_unread_bytes", "value": str(calls.MAX_UNREAD_BYTES)},
        )
        assert client.data_bytes == 0
    eventually(lambda: answers(large_entries))


def answers(address: str) -> bool:
    try:
        return get_entry(address) == ANSWER_BYTES
    except grpc.RpcError:
        return False


def test_a_message_that_is_too_large_is_refused_while_it_comes(large_entries: str) -> None:
    with grpc.insecure_channel(large_entries, options=[("grpc.max_send_message_length", -1)]) as channel:
        call: Any = channel.unary_unary(GET_ENTRY)
        assert call(bytes(0), timeout=10)
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(MAX_REQUEST_BYTES + 1), timeout=10)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_streams_that_idle_and_streams_that_never_read_keep_nobody_out(tmp_path: Path) -> None:
    """64 streams of one producer each send all they may and read nothing; another is answered within its second."""
    with RunningServer(tmp_path / "l") as server, ExitStack() as open_channels:
        before = memory_of(server)
        for _ in range(64):
            producer = registered(server)
            batches = [producer.batch(), *(producer.predictions(2_000) for _ in range(3))]
            channel = open_channels.enter_context(
                grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            append_pb2_grpc.AppendServiceStub(channel).AppendStream(_never_ending(batches))
        other = registered(server)
        with grpc.insecure_channel(server.address) as channel:
            started_s = time.monotonic()
            append_pb2_grpc.AppendServiceStub(channel).AppendBatch(
                append_pb2.AppendBatchRequest(packed_batch=other.batch()), timeout=10
            )
            assert time.monotonic() - started_s < 5
            assert is_serving(channel)
        assert memory_of(server) - before < 192 * 1024 * 1024


def _never_ending(batches: list[bytes]) -> Iterator[append_pb2.AppendStreamRequest]:
    for batch in batches:
        yield append_pb2.AppendStreamRequest(packed_batches=[batch])
    threading.Event().wait(60)


def memory_of(server: RunningServer) -> int:
    """Resident, without what is mapped from files."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def test_hundreds_of_connections_are_cheap(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l") as server, ThreadPoolExecutor(8) as pool:
        before = memory_of(server)
        connections = list(pool.map(RawConnection, [server.address] * 400))
        assert all(connection.settings() for connection in connections)
        assert memory_of(server) - before < 400 * 64 * 1024
        for connection in connections:
            connection.close()


def test_more_connections_than_the_limit_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "grpc.max_allowed_incoming_connections"
    assert dict(endpoint._OPTIONS)[name] == MAX_CONNECTIONS
    monkeypatch.setattr(endpoint, "_OPTIONS", [(name, 3)])
    with serving_large_entries() as address:
        connections = [RawConnection(address) for _ in range(3)]
        assert all(connection.settings() for connection in connections)
        with RawConnection(address) as one_more:
            assert one_more.ended.wait(10)
        connections.pop().close()
        eventually(lambda: answers(address))
        for connection in connections:
            connection.close()


def test_what_a_burst_took_is_given_back() -> None:
    memory = MemoryReturn()
    memory.give_back()
    held = [bytes(65_536) for _ in range(4_000)]  # small enough to come from an arena and not from the kernel
    kept = held[::100]
    taken = resident_bytes()
    held.clear()
    assert memory.give_back() > 0 or resident_bytes() < taken - 128 * 1024 * 1024
    assert resident_bytes() < taken - 128 * 1024 * 1024
    assert memory.give_back() == 0
    assert len(kept) == 40
