"""A real server with a registered producer, and what was put on record there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from lineage_ledger.emitter import Binding, Emitter, Policy
from lineage_ledger.formats import strict
from lineage_ledger.middleware.commitment_key import CommitmentKey
from lineage_ledger.v1 import entries_pb2, entries_pb2_grpc, entry_pb2
from tests.support.producer import DEPLOYMENT_HASH
from tests.support.rpc import registered
from tests.support.server import RunningServer


class Ledger(NamedTuple):
    """A ledger to put predictions into, and to look them up in."""

    emitter: Emitter
    binding: Binding
    key: CommitmentKey
    stub: entries_pb2_grpc.EntryServiceStub

    def prediction(self, prediction_id: str) -> entry_pb2.Prediction:
        """What is on record under an id."""
        assert self.emitter.flush(10)
        answer = self.stub.GetPrediction(entries_pb2.GetPredictionRequest(prediction_id=prediction_id), timeout=10)
        return strict.parse_entry(answer.prediction.entry).prediction

    def after(self, number_of_entries: int) -> list[entry_pb2.Prediction]:
        """The predictions that were logged behind the first `number_of_entries` entries, in order."""
        assert self.emitter.flush(10)
        found = []
        for part in self.stub.StreamEntries(entries_pb2.StreamEntriesRequest(start=number_of_entries), timeout=10):
            packed = part.packed
            while packed:
                size = int.from_bytes(packed[:2], "big")
                entry = strict.parse_entry(packed[2 : 2 + size])
                packed = packed[2 + size :]
                if entry.WhichOneof("kind") == "prediction":
                    found.append(entry.prediction)
        return found

    def emitted(self) -> int:
        return self.emitter.statistics.emitted


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("middleware") / "ledger") as running:
        yield running


@pytest.fixture
def make_ledger(server: RunningServer) -> Iterator[Callable[..., Ledger]]:
    """A ledger to emit to, with a policy of its own."""
    emitters = []
    channel = grpc.insecure_channel(server.address)

    def make(**policy: object) -> Ledger:
        producer = registered(server)
        emitter = Emitter(
            server.address,
            ledger=server.verifier_key,
            key=producer.key,
            policy=Policy(linger_ms=1, **policy),  # type: ignore[arg-type]  # as the test says
        )
        emitters.append(emitter)
        binding = emitter.bind(DEPLOYMENT_HASH)
        return Ledger(emitter, binding, CommitmentKey.generate(), entries_pb2_grpc.EntryServiceStub(channel))

    yield make
    for emitter in emitters:
        emitter.close(10)
    channel.close()


@pytest.fixture
def ledger(make_ledger: Callable[..., Ledger]) -> Ledger:
    return make_ledger()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """A commitment key's file."""
    path = tmp_path / "commitment.key"
    CommitmentKey.generate().write(path)
    return path
