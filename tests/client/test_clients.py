"""Both clients against a real server, and against one that lies."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lineage_ledger import AsyncClient, Client, Emitter, PredictionId, RpcError, SigningKey
from lineage_ledger.agreement import Steps
from lineage_ledger.errors import LineageError, SignatureError, VerificationError
from lineage_ledger.formats import admin, merkle, packed
from lineage_ledger.formats.note import Signer
from lineage_ledger.operations import Operations
from lineage_ledger.rpc import methods
from lineage_ledger.v1 import entry_pb2
from tests.support.rpc import admin_key
from tests.support.server import RunningServer

OUTPUT = hashlib.sha256(b"output").digest()


@dataclass
class Stage:
    server: RunningServer
    key: SigningKey
    ids: list[PredictionId]
    deployment_hash: bytes
    artifact_index: int


def _digest(name: bytes) -> entry_pb2.Digest:
    return entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=hashlib.sha256(name).digest())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    data = tmp_path_factory.mktemp("clients") / "ledger"
    key = SigningKey.generate()
    with RunningServer(data) as server:
        with Client(f"unix:{data / 'admin.sock'}", ledger=server.verifier_key) as client:
            client.producers_add(
                key.public_key,
                "model server",
                possession_signature=admin.prove_possession(server.origin, key),
                admin_key=admin_key(data),
            )
        with Emitter(server.address, ledger=server.verifier_key, key=key) as emitter:
            artifact = emitter.append(
                entry_pb2.Entry(
                    artifact=entry_pb2.Artifact(
                        kind=entry_pb2.ARTIFACT_KIND_MODEL, digest=_digest(b"model"), name="model"
                    )
                )
            )
            deployment = emitter.append(
                entry_pb2.Entry(deployment=entry_pb2.Deployment(name="prod", model=_digest(b"model")))
            )
            binding = emitter.bind(deployment.leaf_hash)
            ids = [
                binding.emit(hashlib.sha256(b"%d" % place).digest(), OUTPUT, request_id=b"request-%d" % (place % 50))
                for place in range(600)
            ]
            assert emitter.flush(10)
        with Client(server.address, ledger=server.verifier_key) as client:
            _indexed(client)
        yield Stage(server, key, ids, deployment.leaf_hash, artifact.index)


def _indexed(client: Client) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if len(list(client.find_predictions(request_id=b"request-7"))) == 12:
                return
        except RpcError as error:
            assert error.reason == "INDEX_BEHIND"
        time.sleep(0.05)
    raise AssertionError("the index did not follow")


def test_everything_is_asked_and_proven(stage: Stage) -> None:
    with Client(stage.server.address, ledger=stage.server.verifier_key) as client:
        first = client.checkpoint()
        assert client.ledger_information().origin == client.origin == first.origin
        prediction = client.get_prediction(stage.ids[17])
        assert prediction.prediction.input_commitment == hashlib.sha256(b"17").digest()
        assert (prediction.public_key, prediction.deployment_hash) == (stage.key.public_key, stage.deployment_hash)
        assert client.get_prediction(str(stage.ids[17])) == prediction
        assert client.get_entry(stage.artifact_index).entry.artifact.name == "model"
        entries = [entry for _, part in client.stream_entries() for entry in packed.split(part)]
        assert len(entries) == client.checkpoint().size
        part = [entry for _, part in client.stream_entries(5, 300) for entry in packed.split(part)]
        assert part == entries[5:300]
        found = list(client.find_predictions(request_id=b"request-7"))
        assert [hit.prediction_id for hit in found] == stage.ids[7::50]
        by_deployment = list(client.find_predictions(deployment_hash=stage.deployment_hash))
        assert [hit.prediction_id for hit in by_deployment] == stage.ids
        proof = client.inclusion_proof(3)
        assert proof.leaf_hash == merkle.leaf_hash(entries[3])
        assert client.receipt(stage.ids[3]).startswith(b"lineage-ledger/receipt/v1")
        assert client.receipt(3).startswith(b"c2sp.org/tlog-proof@v1")
        nodes = list(client.trace(stage.ids[3]))
        assert [node.resolved for node in nodes[:3]] == [True] * 3
        client.consistency_proof(first)


def test_the_asynchronous_client_says_the_same(stage: Stage) -> None:
    async def ask() -> None:
        async with AsyncClient(stage.server.address, ledger=stage.server.verifier_key) as client:
            assert (await client.get_prediction(stage.ids[1])).index > 0
            entries = [entry async for _, part in client.stream_entries(2, 40) for entry in packed.split(part)]
            assert len(entries) == 38
            assert len([hit async for hit in client.find_predictions(request_id=b"request-9")]) == 12
            assert len([node async for node in client.trace(stage.ids[1])]) >= 3
            assert await client.consistency_proof(await client.checkpoint()) == ()
            with pytest.raises(RpcError):
                await client.get_entry(1 << 40)

    asyncio.run(ask())


def test_producers_are_administered(stage: Stage) -> None:
    socket = f"unix:{stage.server.data / 'admin.sock'}"
    with Client(socket, ledger=stage.server.verifier_key) as client:
        assert [producer.public_key for producer in client.producers_list()][-1:] or True
        assert stage.key.public_key in {producer.public_key for producer in client.producers_list()}
        now = client.statistics()
        assert now.predictions == 600
        assert now.index_work.commits > 0 and now.index_work.entries >= now.indexed_size
        assert now.index_work.busy_us > now.index_work.merge_us and not now.index_error
        with pytest.raises(RpcError) as refused:
            client.producers_retire(SigningKey.generate().public_key, 10**6, admin_key=admin_key(stage.server.data))
        assert refused.value.reason in ("UNKNOWN_KEY", "NOT_FOUND")


def test_refusals_come_with_status_reason_and_facts(stage: Stage) -> None:
    with Client(stage.server.address, ledger=stage.server.verifier_key) as client:
        with pytest.raises(RpcError) as refused:
            client.get_entry(1 << 40)
        assert (refused.value.status, refused.value.reason) == ("OUT_OF_RANGE", "INDEX_OUT_OF_RANGE")
        assert int(refused.value.metadata["size"]) > 600
        with pytest.raises(RpcError) as refused:
            client.get_prediction(PredictionId(bytes(16), 1, bytes(4)))
        assert refused.value.reason == "NOT_FOUND"
    with Client("127.0.0.1:1", ledger=stage.server.verifier_key) as client, pytest.raises(RpcError) as refused:
        client.checkpoint()
    assert refused.value.status == "UNAVAILABLE" and "is the server running" in str(refused.value)


def test_another_ledgers_key_is_not_believed(stage: Stage) -> None:
    other = str(Signer(stage.server.origin, SigningKey.generate()).verifier)
    with Client(stage.server.address, ledger=other) as client:
        for ask in (client.checkpoint, lambda: client.get_entry(0), lambda: client.get_prediction(stage.ids[0])):
            with pytest.raises(SignatureError):
                ask()


def _drive(client: Client, steps: Steps[Any], lie: str) -> Any:
    """Run an operation on a real server, and change what it says on the way."""
    response: Any = None
    while True:
        try:
            call = steps.send(response)
        except StopIteration as done:
            return done.value
        response = client._connected().call(call.method, call.request)
        if lie == "entry" and call.method is methods.GET_PREDICTION:
            changed = entry_pb2.Entry.FromString(response.prediction.entry)
            changed.prediction.duration_us += 1
            response.prediction.entry = changed.SerializeToString()
        elif lie == "index" and call.method is methods.GET_PREDICTION:
            response.prediction.index += 1
        elif lie == "key" and call.method is methods.GET_PREDICTION:
            response.prediction.public_key = bytes(32)
        elif lie == "deployment" and call.method is methods.GET_PREDICTION:
            response.prediction.deployment_hash = bytes(32)
        elif lie == "seal" and call.method is methods.GET_PREDICTION:
            response.prediction.seal_index += 1
        elif lie == "proof" and call.method is methods.GET_INCLUSION_PROOF:
            response.hashes[0] = bytes(32)
        elif lie == "leaf" and call.method is methods.GET_INCLUSION_PROOF:
            response.leaf_hash = bytes(32)


@pytest.mark.parametrize("lie", ["entry", "index", "key", "deployment", "seal", "proof", "leaf"])
def test_a_prediction_that_was_changed_on_the_way_is_refused(stage: Stage, lie: str) -> None:
    with Client(stage.server.address, ledger=stage.server.verifier_key) as client:
        operations: Operations = client._operations
        assert _drive(client, operations.prediction(stage.ids[9]), "").prediction_id == stage.ids[9]
        with pytest.raises(LineageError) as refused:
            _drive(client, Operations(operations.verifier).prediction(stage.ids[9]), lie)
        assert not isinstance(refused.value, RpcError)


def test_another_prediction_than_was_asked_for_is_refused(stage: Stage) -> None:
    with Client(stage.server.address, ledger=stage.server.verifier_key) as client:
        steps = client._operations.prediction(stage.ids[9])
        call = steps.send(None)
        call.request.prediction_id = str(stage.ids[8])  # type: ignore[attr-defined]  # the call's own request type
        response: Any = client._connected().call(call.method, call.request)
        with pytest.raises(VerificationError, match="gave the prediction"):
            while True:
                call = steps.send(response)
                response = client._connected().call(call.method, call.request)


def test_importing_the_package_imports_no_grpc() -> None:
    program = (
        "import sys, lineage_ledger; from lineage_ledger import Emitter, Client, AsyncClient, Policy, commit;"
        "assert not any(name.split('.')[0] == 'grpc' for name in sys.modules), 'grpc was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path.cwd())
