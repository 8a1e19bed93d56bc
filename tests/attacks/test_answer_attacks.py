"""Answers that are right in themselves, given for another question; and acknowledgements of what is not there.

The operator's server, a proxy, or a cache: `between` passes on what a real ledger says, and changes one thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lineage_ledger.client import Client
from lineage_ledger.emitter import Backoff, Emitter, Policy
from lineage_ledger.errors import (
    HistoryError,
    MalformedError,
    OtherOriginError,
    ProofError,
    RollbackError,
    SignatureError,
    StaleError,
    VerificationError,
)
from lineage_ledger.formats import keys, merkle, packed
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note, Signer
from lineage_ledger.formats.prediction import encode_prediction
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.proven_entries import ReceiptError
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.rpc.methods import Method
from lineage_ledger.v1 import append_pb2, entries_pb2, proofs_pb2
from tests.attacks.auditing import audited, audited_folder
from tests.attacks.between import Lie, between
from tests.attacks.catching import attack, found_by_the_audit, noticed_by, told_by_the_monitor
from tests.attacks.honest import HonestLedger, emit, size_of
from tests.attacks.operator import Operator
from tests.emitter.fake_ledger import FakeLedger, Tree
from tests.support.producer import DEPLOYMENT_HASH, Producer, registration
from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Another ledger, just as honest."""
    data = tmp_path_factory.mktemp("elsewhere") / "ledger"
    with RunningServer(data, "--origin", "example.com/ledger/elsewhere") as server:
        yield server


def asked(server: RunningServer, index: int, tree_size: int = 0) -> proofs_pb2.GetInclusionProofResponse:
    """The honest answer."""
    request = proofs_pb2.GetInclusionProofRequest(index=index, tree_size=tree_size)
    with Connection(Endpoint(server.address)) as connection:
        return connection.call(methods.GET_INCLUSION_PROOF, request)


@contextmanager
def lied_to(honest: HonestLedger, server: RunningServer, method: Method[Any, Any], lie: Lie) -> Iterator[Client]:
    """A client without a memory, of a server that changes what it says to one method."""
    with between(server.address, {method: lie}) as address, honest.client(address) as client:
        yield client


@attack(caught_by=("client", "emitter", "receipt verifier"))
def test_a_checkpoint_of_another_origin(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """The operator has two ledgers with one key, and shows the tree of the one for that of the other."""
    operator = Operator(honest.data)
    size = size_of(honest.kept)
    other = Signer("example.com/ledger/elsewhere", operator.signer.key)
    note = Checkpoint(other.name, size, merkle.root_of(size, operator.leaves)).sign(other)

    def other_checkpoint(_: object, response: proofs_pb2.GetCheckpointResponse) -> None:
        response.checkpoint = note

    with (
        lied_to(honest, served, methods.GET_CHECKPOINT, other_checkpoint) as client,
        noticed_by("client", OtherOriginError, "example.com/ledger/elsewhere"),
    ):
        client.checkpoint()
    text = Note.parse(note).text
    renamed = f"{text}\n{operator.signer.sign(text).encode()}".encode()  # under the name of the ledger's key
    own = Receipt.parse(honest.receipt)
    for checkpoint, message in ((note, "no signature of"), (renamed, "they must be the same")):
        moved = Receipt(own.prediction_id, own.entries, own.batches, own.tree, checkpoint).encode()
        with noticed_by("receipt verifier", SignatureError, message):
            verify_receipt(moved, honest.verifier)
    fake = FakeLedger()
    try:
        fake.signer = other
        fake.vkey = str(other.verifier)
        with honest.emitter(fake.target, tmp_path / "file") as emitter:
            emit(emitter)
            with noticed_by("emitter", OtherOriginError, "elsewhere"):
                emitter.flush(5)
            emitter.close(0.1)
    finally:
        fake.stop()


@attack(caught_by=("client", "receipt verifier"))
def test_a_proof_for_another_index(honest: HonestLedger, served: RunningServer) -> None:
    """Asked for one entry, the server proves its neighbour."""

    def neighbour(request: proofs_pb2.GetInclusionProofRequest, response: proofs_pb2.GetInclusionProofResponse) -> None:
        response.CopyFrom(asked(served, request.index ^ 1, request.tree_size))

    with (
        lied_to(honest, served, methods.GET_INCLUSION_PROOF, neighbour) as client,
        noticed_by("client", ProofError, "index 7"),
    ):
        client.get_entry(7)
    with honest.client(served.address) as client:
        entry, proof = client.get_entry(7), TlogProof.parse(client.receipt(7))
        proof.verify(entry.data, honest.verifier)
        with noticed_by("receipt verifier", ProofError, "."):
            TlogProof(6, proof.hashes, proof.checkpoint).verify(entry.data, honest.verifier)
        with noticed_by("receipt verifier", ProofError, "."):
            proof.verify(client.get_entry(6).data, honest.verifier)


@attack(caught_by=("receipt verifier",))
def test_words_in_a_receipt_that_nothing_proves(honest: HonestLedger, served: RunningServer) -> None:
    """Whoever hands a receipt on writes something into it, which it would seem to prove."""
    with honest.client(served.address) as client:
        entry, proof = client.get_entry(7).data, client.receipt(7)
    with noticed_by("receipt verifier", MalformedError, "which nothing proves"):
        TlogProof.parse(proof.replace(b"\nindex", b"\nextra Z3JhbnRlZA==\nindex", 1))
    with noticed_by("receipt verifier", MalformedError, "signature"):
        TlogProof.parse(proof + b"granted\n").verify(entry, honest.verifier)
    for changed in (
        honest.receipt.replace(b"\ntree", b"\nnote granted\ntree", 1),
        honest.receipt.replace(b"\nbatch", b"\nbatch 7 \nbatch", 1),
        honest.receipt.replace(b"\nentry", b" granted\nentry", 1),
        honest.receipt + b"granted\n",
    ):
        with noticed_by("receipt verifier", MalformedError, "."):
            verify_receipt(changed, honest.verifier)


@attack(caught_by=("client", "receipt verifier"))
def test_a_proof_for_another_size(honest: HonestLedger, served: RunningServer) -> None:
    """The proof is right, in a tree of another size than that of the checkpoint with it."""

    def older(request: proofs_pb2.GetInclusionProofRequest, response: proofs_pb2.GetInclusionProofResponse) -> None:
        response.hashes[:] = asked(served, request.index, size_of(honest.older)).hashes

    with (
        lied_to(honest, served, methods.GET_INCLUSION_PROOF, older) as client,
        noticed_by("client", ProofError, "inclusion proof"),
    ):
        client.get_entry(7)
    own = Receipt.parse(honest.receipt)
    younger = Operator(honest.data)
    younger.log()
    moved = Receipt(own.prediction_id, own.entries, own.batches, own.tree, younger.checkpoint()).encode()
    with noticed_by("receipt verifier", ReceiptError, "do not lead to the root of its checkpoint"):
        verify_receipt(moved, honest.verifier)


@attack(caught_by=("client",))
def test_a_lookup_by_request_id_that_answers_with_anothers_prediction(
    honest: HonestLedger, served: RunningServer
) -> None:
    """A customer looks up the request that was refused, and is shown one that was granted, with all its proofs."""
    with honest.client(served.address) as client:
        other = next(client.find_predictions(request_id=b"bank-5"))

    def granted(request: entries_pb2.FindPredictionsRequest, response: entries_pb2.FindPredictionsResponse) -> None:
        with Connection(Endpoint(served.address)) as connection:
            asked_instead = entries_pb2.FindPredictionsRequest(request_id=b"bank-5")
            response.CopyFrom(connection.call(methods.FIND_PREDICTIONS, asked_instead))

    def same(request: entries_pb2.GetPredictionRequest, response: entries_pb2.GetPredictionResponse) -> None:
        with Connection(Endpoint(served.address)) as connection:
            instead = entries_pb2.GetPredictionRequest(prediction_id=str(other.prediction_id))
            response.CopyFrom(connection.call(methods.GET_PREDICTION, instead))

    def relabelled(request: entries_pb2.FindPredictionsRequest, response: entries_pb2.FindPredictionsResponse) -> None:
        granted(request, response)
        response.predictions[0].prediction_id = str(honest.prediction)

    for lie, text in ((granted, "is not what was searched for"), (relabelled, "contradicts its seal")):
        with (
            lied_to(honest, served, methods.FIND_PREDICTIONS, lie) as client,
            noticed_by("client", VerificationError, text),
        ):
            list(client.find_predictions(request_id=b"bank-4"))
    with (
        lied_to(honest, served, methods.GET_PREDICTION, same) as client,
        noticed_by("client", VerificationError, "the server gave the prediction"),
    ):
        client.get_prediction(honest.prediction)


@attack(caught_by=("client", "receipt verifier", "audit"))
def test_a_prediction_that_another_key_sealed(honest: HonestLedger, tmp_path: Path) -> None:
    """The operator registers a producer of his own, who seals another answer under the id that the customer has.

    Everything is sealed, logged and proven; only the chain, which the id begins with, is not that producer's.
    """
    operator = Operator(honest.data)
    own = Producer(operator.origin)
    operator.log(packed.pack([registration(operator.origin, own.key, operator.admin_key, "bank")]))
    own.chain_id, own.sequence, own.number = honest.bank.chain_id, 1, honest.prediction.number
    own.previous = bytes(range(32))
    first_index = len(operator.entries)
    entry = encode_prediction(
        binding_row=1,
        input_commitment=honest.prediction.input_prefix + bytes(28),
        output_commitment=bytes([9]) * 32,
        start_time_unix_ns=1,
    )
    operator.log(own.batch([entry]))
    forged = entries_pb2.LoggedPrediction(
        prediction_id=str(honest.prediction),
        index=first_index,
        entry=entry,
        seal_index=first_index + 1,
        public_key=own.key.public_key,
        deployment_hash=DEPLOYMENT_HASH,
        chain_nonce=honest.bank.nonce,
    )

    def instead(_: object, response: entries_pb2.GetPredictionResponse) -> None:
        response.prediction.CopyFrom(forged)

    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "chain_id_mismatch")
    del operator.entries[operator.batches_of(honest.bank.chain_id)[1].start : first_index - 2]  # the bank's own batches
    operator.relink()
    with noticed_by("receipt verifier", ReceiptError, "another key than the one that opened its chain"):
        verify_receipt(operator.receipt(honest.prediction), honest.verifier)
    with (
        RunningServer(tmp_path / "private") as server,
        lied_to(honest, server, methods.GET_PREDICTION, instead) as client,
        noticed_by("client", VerificationError, "not show that the chain"),
    ):
        client.get_prediction(honest.prediction)


@attack(caught_by=("client",))
def test_a_range_answer_that_leaves_predictions_out(honest: HonestLedger, served: RunningServer) -> None:
    """Of the entries asked for one is missing: in the middle, with the count made to fit, or at the end."""

    def middle(_: object, response: entries_pb2.StreamEntriesResponse) -> None:
        entries = packed.split(response.packed)
        del entries[5]
        response.packed, response.count = packed.pack(entries), len(entries)

    def end(_: object, response: entries_pb2.StreamEntriesResponse) -> None:
        entries = packed.split(response.packed)[:-1]
        response.packed, response.count = packed.pack(entries), len(entries)

    def uncounted(_: object, response: entries_pb2.StreamEntriesResponse) -> None:
        response.packed = packed.pack(packed.split(response.packed)[:-1])

    for lie, error, text in (
        (middle, ProofError, "are not what the server's tree holds there"),
        (end, VerificationError, "stopped at"),
        (uncounted, VerificationError, "entries and sent"),
    ):
        with lied_to(honest, served, methods.STREAM_ENTRIES, lie) as client, noticed_by("client", error, text):
            list(client.stream_entries(10, 40))


@attack(caught_by=("client", "monitor"))
def test_a_stale_view(honest: HonestLedger, tmp_path: Path) -> None:
    """Whoever stands between shows an old state of the ledger for ever: all of it is signed and proven.

    Three minutes are the rule; here it is so little that nobody has to wait for it.
    """
    old = Operator(honest.data)
    with (
        RunningServer(old.write(tmp_path / "ledger")) as server,
        honest.client(server.address, max_block_age_s=0.001) as client,
        noticed_by("client", StaleError, "an old state of it is shown"),
    ):
        client.checkpoint()
    told_by_the_monitor(honest.monitor(old.export(tmp_path / "public"), tmp_path / "state", 0.001), "stale")


@attack(caught_by=("client",))
def test_an_old_checkpoint_again(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """A cache answers with what it had: older than what the client has seen already."""

    def cached(_: object, response: proofs_pb2.GetCheckpointResponse) -> None:
        response.checkpoint = honest.older

    with (
        between(served.address, {methods.GET_CHECKPOINT: cached}) as address,
        honest.client(address, tmp_path / "file") as client,
        noticed_by("client", RollbackError, "put back from an old copy"),
    ):
        client.checkpoint()


@attack(caught_by=("client",))
def test_an_answer_from_another_ledger(honest: HonestLedger, elsewhere: RunningServer) -> None:
    """The name of the ledger's server leads to another one."""
    with honest.client(elsewhere.address) as client, noticed_by("client", OtherOriginError, "elsewhere"):
        client.checkpoint()


@attack(caught_by=("emitter",))
def test_acknowledge_and_drop(tmp_path: Path) -> None:
    """A batch is acknowledged with checkpoint and proofs, in a tree that goes on properly, and holds another one."""
    ledger = FakeLedger()
    key = keys.SigningKey.from_seed(bytes(32))
    policy = Policy(prove=True, exit_timeout_s=0, backoff=Backoff(least_s=0.01, most_s=0.1, refused_s=60.0))
    try:
        with Emitter(ledger.target, ledger=ledger.vkey, key=key, policy=policy) as emitter:
            emit(emitter)
            assert emitter.flush(5)
            kept, shown = list(ledger.entries), Tree()
            shown.grow(b"".join(merkle.leaf_hash(entry) for entry in kept))

            def drop(response: append_pb2.AppendStreamResponse) -> None:
                new = ledger.entries[len(kept) :]
                shown.grow(b"".join(merkle.leaf_hash(b"another" + entry) for entry in new))
                size = shown.size
                root = merkle.root_of(size, shown)
                response.checkpoint = Checkpoint(ledger.signer.name, size, root).sign(ledger.signer)
                response.consistency_proof[:] = merkle.consistency_proof(len(kept), size, shown)
                for said in response.acknowledgements:
                    said.range_proof[:] = merkle.range_proof(said.first_index, said.seal_index + 1, size, shown)

            ledger.faults.tamper = drop
            emit(emitter)
            with noticed_by("emitter", HistoryError, "does not show that its tree"):
                emitter.flush(5)
            assert (emitter.statistics.acknowledged, emitter.statistics.pending) == (3, 3)
            emitter.close(0.1)
    finally:
        ledger.stop()


@attack(caught_by=("emitter",))
def test_acknowledge_in_the_ledgers_place() -> None:
    """Whoever stands between, without any key, takes the batches and answers with an old checkpoint of the ledger."""
    ledger, between_them = FakeLedger(), FakeLedger()
    between_them.signer = ledger.signer  # whose name and public key it says; what it signs itself it does not show
    ledger.tree.grow(bytes(32) * 1_000)
    note = ledger.checkpoint()
    key = keys.SigningKey.from_seed(bytes(32))
    backoff = Backoff(least_s=0.01, most_s=0.1, refused_s=60.0)

    def answer(response: append_pb2.AppendStreamResponse) -> None:
        response.checkpoint = note
        del response.consistency_proof[:]

    between_them.faults.tamper = answer
    try:
        for prove in (True, False):
            policy = Policy(prove=prove, exit_timeout_s=0, backoff=backoff)
            with Emitter(between_them.target, ledger=ledger.vkey, key=key, policy=policy) as emitter:
                emit(emitter)
                if not prove:
                    assert emitter.flush(5), "out of reach: without proofs and TLS it may be anybody's answer"
                    continue
                with noticed_by("emitter", HistoryError, "does not show that its tree"):
                    emitter.flush(5)
                assert (emitter.statistics.acknowledged, emitter.statistics.pending) == (0, 3)
                emitter.close(0.1)
    finally:
        between_them.stop()
        ledger.stop()


@attack(caught_by=("audit", "monitor"))
def test_a_cache_that_mixes_old_and_new(honest: HonestLedger, tmp_path: Path) -> None:
    """The newest checkpoint over the files of before; and over files of which one is of another history."""
    now, then, fork = Operator(honest.data), Operator(honest.data), Operator(honest.data)
    then.entries = then.entries[: size_of(honest.older)]
    folder = then.export(tmp_path / "mixed")
    then.shown = now.checkpoint()
    then.export(folder)
    report = audited_folder(folder, honest.verifier)
    found_by_the_audit(report, *{finding.kind for finding in report.findings})
    told_by_the_monitor(honest.monitor(folder, tmp_path / "state", 1e9), "finding")

    fork.edit(-2, lambda entry: entry.seal.ClearField("signature"))
    now.export(tmp_path / "other")
    name = f"tile/entries/001.p/{len(now.entries) - 256}"
    (tmp_path / "other" / name).write_bytes((fork.export(tmp_path / "fork") / name).read_bytes())
    found_by_the_audit(audited_folder(tmp_path / "other", honest.verifier), "entry_changed")
