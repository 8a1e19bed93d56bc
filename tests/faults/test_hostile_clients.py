"""Clients that do what they like, from seeds, against a real server, while one good producer goes on undisturbed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, entries_pb2
from tests.support.producer import Producer, a_prediction
from tests.support.rpc import admin_stub, is_serving, registered
from tests.support.server import RunningServer
from tests.support.stored import entries, opened

_APPEND = "/lineage_ledger.v1.AppendService/"
_SECONDS = 5.0
_EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Hostile:
    """One client: a registered producer's key, or a stranger's, and a random mind."""

    def __init__(self, address: str, seed: int, producer: Producer) -> None:
        self._random = random.Random(seed)
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        )
        self._producer = producer
        self.seen: set[grpc.StatusCode] = set()

    def run(self, until: float) -> set[grpc.StatusCode]:
        acts: list[Callable[[], object]] = [
            self._random_bytes,
            self._mutated_batch,
            self._edge_of_the_numbers,
            self._conflict,
            self._stream_broken_off,
            self._stream_never_read,
            self._repeats,
            self._reads,
        ]
        while time.monotonic() < until:
            try:
                self._random.choice(acts)()
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                self.seen.add(error.code())
        self._channel.close()
        return self.seen

    def _unary(self, packed: bytes) -> object:
        stub: Any = append_pb2_grpc.AppendServiceStub(self._channel)
        return stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed), timeout=5)

    def _raw(self, messages: Iterator[bytes]) -> Any:
        return self._channel.stream_stream(
            _APPEND + "AppendStream", request_serializer=bytes, response_deserializer=bytes
        )(messages, timeout=5)

    def _random_bytes(self) -> None:
        rng = self._random
        if rng.random() < 0.5:
            self._unary(rng.randbytes(rng.choice((0, 1, 2, 300, 70_000))))
        else:
            # A field 1 with anything in it: some are messages, their batches are none.
            content = rng.randbytes(rng.randrange(120))
            for _ in self._raw(iter([b"\n" + bytes([len(content)]) + content])):
                pass

    def _chain(self) -> Producer:
        chain = Producer(self._producer.origin, self._producer.key)
        self._unary(chain.batch())
        return chain

    def _mutated_batch(self) -> None:
        packed = bytearray(self._chain().predictions(self._random.randint(1, 40)))
        for _ in range(self._random.randint(1, 4)):
            place = self._random.randrange(len(packed))
            act = self._random.randrange(4)
            if act == 0:
                packed[place] ^= 1 << self._random.randrange(8)
            elif act == 1:
                del packed[place : place + self._random.randint(1, 200)]
            elif act == 2:
                packed[place:place] = self._random.randbytes(self._random.randint(1, 50))
            else:
                packed += packed[: self._random.randint(1, 300)]
            if not packed:
                break
        self._unary(bytes(packed))

    def _edge_of_the_numbers(self) -> None:
        """What is signed well, and as large or odd as the format lets it be."""
        chain, rng = self._chain(), self._random
        row = rng.choice((1, 255))
        predictions = [a_prediction(n, row=row, start_time_unix_ns=2**64 - 1) for n in range(rng.choice((0, 1, 300)))]
        body = chain.body(predictions)
        while len(body.bindings) < 255:
            body.bindings.add(deployment_hash=rng.randbytes(32))
        most = 2**63 - 1 - len(predictions)
        for place in range(rng.choice((1, 512)) if len(predictions) == 300 else 1):
            body.lost.add(first=2 * place, count=1)
        body.lost[-1].count = rng.choice((1, most - len(body.lost) + 1, most, 2**64 - 1 - body.lost[-1].first))
        body.sealed_time_unix_ns = 2**64 - 1
        self._unary(chain.seal(predictions, body))
        self._unary(chain.batch(closing=True))

    def _conflict(self) -> None:
        """Two seals for one place, as large as seals may be: their conflict's entry has to hold both."""
        chain = self._chain()
        where = chain.sequence, chain.number, chain.previous
        for salt in (1, 2):
            chain.sequence, chain.number, chain.previous = where
            body = chain.body()
            for _ in range(255):
                body.bindings.add(deployment_hash=bytes([salt]) * 32)
            body.sealed_time_unix_ns = salt
            self._unary(chain.seal([], body))

    def _stream_broken_off(self) -> None:
        chain, rng = Producer(self._producer.origin, self._producer.key), self._random

        def messages() -> Iterator[bytes]:
            yield append_pb2.AppendStreamRequest(packed_batches=[chain.batch()]).SerializeToString()
            for _ in range(rng.randrange(20)):
                yield append_pb2.AppendStreamRequest(packed_batches=[chain.predictions(50)]).SerializeToString()

        call = self._raw(messages())
        for _ in range(rng.randrange(3)):
            next(call, None)
        call.cancel()

    def _stream_never_read(self) -> None:
        opening = Producer(self._producer.origin, self._producer.key).batch()
        message = append_pb2.AppendStreamRequest(packed_batches=[opening] * 1_000).SerializeToString()
        call = self._raw(message for _ in range(5))
        time.sleep(0.2)
        call.cancel()

    def _repeats(self) -> None:
        opening = self._chain()
        for _ in range(20):
            self._unary(Producer(opening.origin, opening.key, opening.nonce).batch())

    def _reads(self) -> None:
        never_read = self._channel.unary_stream(
            "/lineage_ledger.v1.EntryService/StreamEntries",
            request_serializer=entries_pb2.StreamEntriesRequest.SerializeToString,
            response_deserializer=bytes,
        )(entries_pb2.StreamEntriesRequest(), timeout=1)
        next(never_read, None)


@pytest.mark.parametrize("seed", [1])
def test_a_good_producer_is_not_disturbed(tmp_path: Path, seed: int) -> None:
    with RunningServer(tmp_path / "l", "--max-append-streams", "8") as server, ThreadPoolExecutor(6) as pool:
        good = registered(server, "good")
        until = time.monotonic() + _SECONDS
        hostile = [Hostile(server.address, seed * 100 + n, registered(server, f"hostile {n}")) for n in range(4)]
        hostile.append(Hostile(server.address, seed * 100 + 99, Producer(server.origin)))
        runs = [pool.submit(client.run, until) for client in hostile]
        sent: list[bytes] = []
        waits_s: list[float] = []
        with grpc.insecure_channel(server.address) as channel:
            stub: Any = append_pb2_grpc.AppendServiceStub(channel)
            answered = threading.Semaphore(1)

            def batches() -> Iterator[append_pb2.AppendStreamRequest]:
                while time.monotonic() < until:
                    answered.acquire()
                    sent.append(good.predictions(100) if sent else good.batch())
                    yield append_pb2.AppendStreamRequest(packed_batches=[sent[-1]])

            acknowledged, began = [], time.monotonic()
            for response in stub.AppendStream(batches(), timeout=60):
                acknowledged += response.acknowledgements
                waits_s.append(time.monotonic() - began)
                began = time.monotonic()
                answered.release()
            assert len(acknowledged) == len(sent) > 10
            for run in runs:
                assert run.result(30) <= _EXPECTED
            assert max(waits_s) < 3
            assert is_serving(channel)
            deadline = time.monotonic() + 10
            while True:  # neither log nor indexes were poisoned
                statistics = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
                if statistics.indexed_size == statistics.tree_size:
                    break
                assert time.monotonic() < deadline, "the indexes do not follow"
                time.sleep(0.1)
            assert statistics.writable
        assert server.stop() == 0
    with opened(tmp_path / "l") as reader:
        stored = list(entries(reader))
    for packed, ack in zip(sent, acknowledged, strict=True):
        own = stored[ack.first_index : ack.seal_index + 1]
        assert b"".join(len(entry).to_bytes(2, "big") + entry for entry in own) == packed
    log = (tmp_path / "l.log").read_text()
    assert "unexpected" not in log
