"""A ledger and its witnesses, all of them real processes."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineage_ledger import Client
from lineage_ledger.emitter import Emitter, Policy, WhenFull
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, proofs_pb2, proofs_pb2_grpc
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import open_ledger
from tests.cli.recorded_ledger import run
from tests.keys.rotating import rotate
from tests.support.rpc import admin_stub, reason_of, registered
from tests.support.server import RunningServer
from tests.support.stored import numbered, opened
from tests.witness.running_witness import WitnessHere

WITNESSED, PUBLISHED, DURABLE = (
    append_pb2.PROMISE_WITNESSED,
    append_pb2.PROMISE_PUBLISHED,
    append_pb2.PROMISE_DURABLE,
)


class Town:
    """A ledger whose policy is k of three witnesses."""

    def __init__(self, folder: Path, least: int = 2, *, origin: str = "example.com/log") -> None:
        self.folder = folder
        self.data = folder / "ledger"
        self.policy_file = folder / "policy"
        ledger = open_ledger(DataDir(self.data), origin=origin)  # its key must be known to the witnesses
        self.verifier = ledger.verifier
        ledger.close()
        self.witnesses = [
            WitnessHere(folder / f"w{number}", self.verifier, name=f"w{number}.example") for number in range(3)
        ]
        lines = [f"log {self.verifier}", *(one.policy_line for one in self.witnesses)]
        names = " ".join(line.split(" ")[1] for line in lines[1:])
        lines += [f"group quorum-of-three {least} {names}", "quorum quorum-of-three", ""]
        self.policy_file.write_text("\n".join(lines))
        self.policy = WitnessPolicy.parse(self.policy_file.read_bytes())

    def serve(self, *options: str) -> RunningServer:
        return RunningServer(self.data, "--witness-policy", str(self.policy_file), *options)

    def close(self) -> None:
        for witness in self.witnesses:
            witness.stop()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()


def append(server: RunningServer, packed: bytes, wait_for: append_pb2.Promise = 0) -> append_pb2.AppendBatchResponse:  # type: ignore[assignment]  # unspecified
    options = append_pb2.AcknowledgementOptions(wait_for=wait_for, prove=True)
    with grpc.insecure_channel(server.address) as channel:
        stub = append_pb2_grpc.AppendServiceStub(channel)
        return stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed, options=options), timeout=30)


def checkpoint(server: RunningServer, *, witnessed: bool) -> bytes:
    with grpc.insecure_channel(server.address) as channel:
        stub = proofs_pb2_grpc.ProofServiceStub(channel)
        return stub.GetCheckpoint(proofs_pb2.GetCheckpointRequest(witnessed=witnessed), timeout=10).checkpoint


def size_of(note: bytes) -> int:
    return Checkpoint.parse(Note.parse(note).text).size


def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except grpc.RpcError as error:
            assert reason_of(error)[1] == "NOT_WITNESSED"
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def statistics(server: RunningServer) -> admin_pb2.GetStatisticsResponse:
    return admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=10)


def test_asked_and_not_required(town: Town, tmp_path: Path) -> None:
    town.witnesses[2].stop()  # two of three are enough
    with town.serve() as server:
        producer = registered(server)
        first = append(server, producer.batch())
        assert first.acknowledgement.promise in {PUBLISHED, WITNESSED}
        last = append(server, producer.predictions(5), WITNESSED)
        assert last.acknowledgement.promise == WITNESSED
        assert [one.witness.verifier.name for one in town.policy.check(last.checkpoint, town.verifier)] == [
            "w0.example",
            "w1.example",
        ]
        signatures = Note.parse(last.checkpoint).signatures
        assert signatures[0].name == "example.com/log"
        newest = until(lambda: size_of(checkpoint(server, witnessed=True)) >= size_of(last.checkpoint))
        assert newest
        stats = statistics(server)
        assert stats.witnessed_size >= size_of(last.checkpoint)
        assert not stats.witnesses_required
        assert [bool(one.error) for one in stats.witnesses] == [False, False, True]
        shown = run("stats", "--data", server.data)
        assert "w2.example" in shown.stdout, shown.output
        # A receipt under the witnessed checkpoint, verified by the command.
        receipt = tmp_path / "receipt"
        index = last.acknowledgement.first_index
        made = run("receipt", "--data", server.data, index, "-o", receipt, "--witnessed")
        assert made.exit_code == 0, made.output
        checked = run("verify", receipt, "--key", town.verifier, "--witness-policy", town.policy_file)
        assert checked.exit_code == 0, checked.output
        assert "witnessed: by w1.example" in checked.stdout
        kept = tmp_path / "kept"
        assert run("checkpoint", "--data", server.data, "--witnessed", "-o", kept).exit_code == 0
        assert town.policy.check(kept.read_bytes())
        by_policy = run("checkpoint", "--data", server.data, "--witness-policy", town.policy_file)
        assert by_policy.exit_code == 0, by_policy.output
        stricter = tmp_path / "stricter"
        stricter.write_text(town.policy_file.read_text().replace("group quorum-of-three 2", "group quorum-of-three 3"))
        refused = run("checkpoint", "--data", server.data, "--witness-policy", stricter)
        assert (refused.exit_code, "3 of w0.example" in refused.stderr) == (1, True)
        # What is shown to the web, and to whoever takes a copy, has the cosignatures.
        assert run("export", "--data", server.data, tmp_path / "public").exit_code == 0
        assert town.policy.check((tmp_path / "public" / "checkpoint").read_bytes())
        audited = run("audit", "--folder", tmp_path / "public", "--key", town.verifier)
        assert audited.exit_code == 0, audited.output
        assert server.stop() == 0


def test_no_policy_no_witnessed_checkpoint(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "ledger") as server:
        with pytest.raises(grpc.RpcError) as caught:
            checkpoint(server, witnessed=True)
        assert reason_of(caught.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "NOT_WITNESSED")
        producer = registered(server)
        assert append(server, producer.batch(), WITNESSED).acknowledgement.promise == PUBLISHED


def test_required_from_the_first_checkpoint_on(town: Town) -> None:
    with town.serve("--require-witnesses", "--witness-timeout-s", "5") as server:
        producer = registered(server)
        for number in range(5):
            answer = append(server, producer.predictions(3) if number else producer.batch())
            assert answer.acknowledgement.promise == WITNESSED
            assert town.policy.check(answer.checkpoint)
            assert answer.acknowledgement.range_proof
        assert town.policy.check(checkpoint(server, witnessed=False))
        assert statistics(server).witnesses_required
        assert append(server, producer.predictions(1), DURABLE).acknowledgement.promise in {DURABLE, WITNESSED}


def test_a_lost_quorum_stops_publication_and_a_regained_one_goes_on(town: Town) -> None:
    with town.serve("--require-witnesses", "--witness-timeout-s", "1.5") as server:
        producer = registered(server)
        append(server, producer.batch())
        before = size_of(checkpoint(server, witnessed=False))
        for witness in town.witnesses[1:]:
            witness.stop()
        began = time.monotonic()
        answer = append(server, producer.predictions(10))
        assert time.monotonic() - began > 1.4
        assert answer.acknowledgement.promise == DURABLE
        assert len(Note.parse(answer.checkpoint).signatures) == 1
        assert size_of(answer.checkpoint) > before
        assert size_of(checkpoint(server, witnessed=False)) == before
        with pytest.raises(grpc.RpcError) as caught, grpc.insecure_channel(server.address) as channel:
            stub = proofs_pb2_grpc.ProofServiceStub(channel)
            index = answer.acknowledgement.first_index
            stub.GetReceipt(proofs_pb2.GetReceiptRequest(index=index), timeout=10)
        assert reason_of(caught.value)[1] == "INDEX_OUT_OF_RANGE"
        # Sequencing did not wait: more is taken, at once if nobody waits.
        assert append(server, producer.predictions(10), DURABLE).acknowledgement.promise == DURABLE
        stats = statistics(server)
        assert (stats.witnessed_size, stats.tree_size > before) == (before, True)
        town.witnesses[1].start()
        until(lambda: size_of(checkpoint(server, witnessed=False)) >= stats.tree_size)
        assert append(server, producer.predictions(1)).acknowledgement.promise == WITNESSED


def test_who_records_without_a_quorum_is_told_what_became_of_it(town: Town, tmp_path: Path) -> None:
    with town.serve("--require-witnesses", "--witness-timeout-s", "1") as server:
        key, file = tmp_path / "producer.key", tmp_path / "data.csv"
        keys.write_signing_key(key, "producer", registered(server).key)
        file.write_text("1,2\n")
        record = ("record", "artifact", "--kind", "dataset", file, "--key-file", key)
        access = ("--server", server.address, "--verifier-key", server.verifier_key)
        for witness in town.witnesses[1:]:
            witness.stop()
        refused = run(*record, *access)
        assert refused.exit_code == 1
        assert "waits for a quorum of its witnesses" in refused.stderr
        assert "Nothing was recorded; try again" in refused.stderr
        town.witnesses[1].start()
        until(lambda: run(*record, *access).exit_code == 0)


def test_a_change_of_the_ledger_s_key_that_the_witnesses_do_not_know_yet(town: Town) -> None:
    """Nothing is published and nothing lost until they know it; the statistics say what they answer."""
    with town.serve("--require-witnesses", "--witness-timeout-s", "1") as server:
        producer = registered(server)
        assert append(server, producer.batch()).acknowledgement.promise == WITNESSED
        before = size_of(checkpoint(server, witnessed=False))
        new_key = Verifier.parse(rotate(server.data)["verifier_key"])
        assert append(server, producer.predictions(3)).acknowledgement.promise == DURABLE
        assert size_of(checkpoint(server, witnessed=False)) == before
        answers = [one.error for one in statistics(server).witnesses]
        assert all("403" in answer and "no signature of" in answer for answer in answers)
        with Client(server.address, ledger=str(town.verifier)) as client:
            assert client.checkpoint().size == before
            for witness in town.witnesses[:2]:
                witness.stop()
                witness.logs = (*witness.logs, new_key)
                witness.start()
            until(lambda: size_of(checkpoint(server, witnessed=False)) > before)
            assert client.checkpoint().size > before
        assert append(server, producer.predictions(1)).acknowledgement.promise == WITNESSED


def test_readers_and_the_web_see_witnessed_heads_only(town: Town) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with town.serve("--require-witnesses", "--witness-timeout-s", "0.3", "--http", address) as server:
        producer = registered(server)
        append(server, producer.batch())
        with RunningServer(server.data, "--reader") as reader:
            for witness in town.witnesses:
                witness.stop()
            before = size_of(checkpoint(reader, witnessed=False))
            assert append(server, producer.predictions(4)).acknowledgement.promise == DURABLE
            assert size_of(checkpoint(reader, witnessed=False)) == before
            page = urllib.request.urlopen(f"http://{address}/checkpoint", timeout=10).read()  # loopback
            assert size_of(page) == before
            assert town.policy.check(page)


def test_nothing_is_published_before_the_first_quorum(town: Town) -> None:
    for witness in town.witnesses:
        witness.stop()
    with town.serve("--require-witnesses", "--witness-timeout-s", "0.3") as server:
        with pytest.raises(grpc.RpcError) as caught:
            checkpoint(server, witnessed=False)
        assert reason_of(caught.value)[1] == "NOT_WITNESSED"
        assert statistics(server).tree_size > 0
        town.witnesses[0].start()
        town.witnesses[2].start()
        assert until(lambda: size_of(checkpoint(server, witnessed=False)))


def test_an_emitter_s_batches_all_arrive(town: Town) -> None:
    """With the quorum lost half way: nothing counts as acknowledged that is not witnessed, and all is in the end."""
    with town.serve("--require-witnesses", "--witness-timeout-s", "0.3") as server:
        policy = Policy(when_full=WhenFull.BLOCK, wait_for="witnessed", prove=True)
        key, by = registered(server).key, town.policy
        emitter = Emitter(server.address, ledger=server.verifier_key, key=key, witness_policy=by, policy=policy)
        binding = emitter.bind(bytes(range(32)))
        ids = [binding.emit(bytes(32), bytes(32)) for _ in range(500)]
        assert emitter.flush(20)
        for witness in town.witnesses[:2]:
            witness.stop()
        ids += [binding.emit(bytes(32), bytes(32)) for _ in range(500)]
        assert not emitter.flush(1.5)
        for witness in town.witnesses[:2]:
            witness.start()
        ids += [binding.emit(bytes(32), bytes(32)) for _ in range(500)]
        assert emitter.flush(40)
        assert emitter.statistics.lost == 0
        assert emitter.close()
        assert server.stop() == 0
    with opened(server.data) as reader:
        logged = [number for _, number, entry in numbered(reader) if entry[0] == 0x0A]
    assert sorted(logged) == [one.number for one in ids]


def test_killed_and_restored(town: Town) -> None:
    """Whatever is killed whenever, what was witnessed stays, and the ledger goes on from it."""
    newest = 0
    producer = None
    for number in range(3):
        with town.serve("--require-witnesses", "--witness-timeout-s", "5") as server:
            if producer is None:
                producer = registered(server)
                append(server, producer.batch())
            answer = append(server, producer.predictions(2))
            assert answer.acknowledgement.promise == WITNESSED
            assert size_of(answer.checkpoint) > newest
            newest = size_of(answer.checkpoint)
            town.witnesses[number].stop()
            town.witnesses[number].start()
            server.kill()
