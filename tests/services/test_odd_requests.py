"""Requests that are none: paths that are no text, methods that there are not, messages that are no messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lineage_ledger.v1 import append_pb2
from tests.support.http2 import RawConnection
from tests.support.rpc import is_serving, reason_of, registered
from tests.support.server import RunningServer

APPEND = "/lineage_ledger.v1.AppendService/"
NO_MESSAGE = b"\xff\xff"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    data = tmp_path_factory.mktemp("s") / "l"
    with RunningServer(data) as server:
        yield server
        assert server.stop() == 0
    log = data.with_suffix(".log").read_text()
    assert "Traceback" not in log
    assert "unexpected" not in log


@pytest.fixture
def channel(server: RunningServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.mark.parametrize(
    "path",
    [b"/\xff\xfe/x", b"\xff", b"/lineage_ledger.v1.EntryService/GetEntry\xff", b"/", b"//", b"/a\0b/c"],
    ids=repr,
)
def test_no_path_whatever_its_bytes_ends_the_server(server: RunningServer, channel: grpc.Channel, path: bytes) -> None:
    with RawConnection(server.address) as client:
        client.call(path)
        time.sleep(0.3)
    assert is_serving(channel)


@pytest.mark.parametrize("path", ["/lineage_ledger.v1.EntryService/Nothing", "/nobody.v1.Nothing/Nothing", "/x"])
def test_a_method_that_there_is_not(channel: grpc.Channel, path: str) -> None:
    call: Any = channel.unary_unary(path)
    with pytest.raises(grpc.RpcError) as refused:
        call(b"", timeout=5)
    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("path", "streams"),
    [
        ("/lineage_ledger.v1.EntryService/GetEntry", False),
        ("/lineage_ledger.v1.EntryService/StreamEntries", False),
        (APPEND + "AppendBatch", False),
        (APPEND + "AppendStream", True),
        ("/grpc.health.v1.Health/Check", False),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", True),
    ],
)
def test_bytes_that_are_no_message_are_an_invalid_argument(channel: grpc.Channel, path: str, streams: bool) -> None:
    call: Any = channel.stream_stream(path) if streams else channel.unary_stream(path)
    with pytest.raises(grpc.RpcError) as refused:
        list(call(iter([NO_MESSAGE]) if streams else NO_MESSAGE, timeout=5))
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


def test_what_was_sent_before_such_bytes_is_answered(server: RunningServer, channel: grpc.Channel) -> None:
    opening = append_pb2.AppendStreamRequest(packed_batches=[registered(server).batch()]).SerializeToString()
    call: Any = channel.stream_stream(
        APPEND + "AppendStream", response_deserializer=append_pb2.AppendStreamResponse.FromString
    )
    answers = call(iter([opening, NO_MESSAGE]), timeout=5)
    assert next(answers).acknowledgements[0].batch_sequence == 0
    with pytest.raises(grpc.RpcError) as refused:
        next(answers)
    assert reason_of(refused.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


def test_who_may_not_call_is_told_so_before_the_message_is_looked_at(channel: grpc.Channel) -> None:
    call: Any = channel.unary_unary("/lineage_ledger.v1.AdminService/GetStatistics")
    with pytest.raises(grpc.RpcError) as refused:
        call(NO_MESSAGE, timeout=5)
    assert reason_of(refused.value)[1] == "ROLE_REQUIRED"
