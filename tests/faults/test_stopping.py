"""Stopping: within the drain time whatever clients do, with all that was acknowledged on disk."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineage_ledger.v1 import append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from tests.support.producer import Producer
from tests.support.rpc import registered
from tests.support.server import RunningServer
from tests.support.stored import opened

_DRAIN_S = 10.0


@pytest.mark.long  # the drain time itself
def test_signals_by_the_handful_stop_it_within_the_drain_time_though_nobody_reads(tmp_path: Path) -> None:
    hold = threading.Event()
    with RunningServer(tmp_path / "l") as server, grpc.insecure_channel(server.address) as channel:
        producer = registered(server)
        append: Any = append_pb2_grpc.AppendServiceStub(channel)
        read: Any = entries_pb2_grpc.EntryServiceStub(channel)
        opening = producer.batch()
        append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=opening))
        for _ in range(10):
            append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=producer.predictions(16_000)))
        never_read = [read.StreamEntries(entries_pb2.StreamEntriesRequest())]
        next(never_read[0])

        def idle() -> Iterator[append_pb2.AppendStreamRequest]:
            yield append_pb2.AppendStreamRequest(packed_batches=[Producer(server.origin, producer.key).batch()])
            hold.wait(30)

        never_read.append(append.AppendStream(idle()))
        busy = append_pb2.AppendStreamRequest(packed_batches=[opening] * 1_000)
        never_read.append(append.AppendStream(busy for _ in range(400)))
        acknowledgement = next(never_read[1]).acknowledgements[0]
        time.sleep(0.3)
        began = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            server.process.send_signal(number)
        assert server.stop(_DRAIN_S + 5) == 0
        assert time.monotonic() - began < _DRAIN_S + 3
        hold.set()
        for call in never_read:
            call.cancel()
    with opened(tmp_path / "l") as reader:
        assert reader.seal_of(acknowledgement.seal_index)[1].body.chain_id == acknowledgement.chain_id


def test_a_signal_while_it_starts_is_not_lost(tmp_path: Path) -> None:
    for _ in range(3):
        with RunningServer(tmp_path / "l") as server:
            server.process.send_signal(signal.SIGINT)
            assert server.stop() == 0
