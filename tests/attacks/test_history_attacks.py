"""The operator, or whoever restores a backup, with more than one history of a ledger: each is right by itself.

What gives them away is what somebody remembers: a head record, a checkpoint file, a witness.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage_ledger.errors import (
    ForkError,
    OtherKeyError,
    RollbackError,
)
from lineage_ledger.formats import keys
from lineage_ledger.formats.ledger_keys import UnknownPinError
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.witness_protocol import AddCheckpoint
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.rpc import methods
from lineage_ledger.v1 import proofs_pb2
from tests.attacks.auditing import audited_data, audited_folder
from tests.attacks.between import between
from tests.attacks.catching import (
    TWO_TREES,
    attack,
    found_by_the_audit,
    noticed_by,
    refused_by_the_witness,
    start_refused,
    told_by_the_monitor,
)
from tests.attacks.honest import HonestLedger, append, emit, predictions, size_of
from tests.attacks.operator import Operator
from tests.keys.rotating import rotate
from tests.support.producer import Producer
from tests.support.server import RunningServer
from tests.witness.running_witness import WitnessHere


@contextmanager
def shown_to_a_witness(honest: HonestLedger, folder: Path) -> Iterator[WitnessHere]:
    """A witness that cosigned the honest ledger."""
    witness = WitnessHere(folder / "witness", honest.verifier, name="witness.example")
    try:
        assert witness.witness.add_checkpoint(AddCheckpoint(0, (), honest.kept).encode()).status == 200
        yield witness
    finally:
        witness.stop()


def asked_to_cosign(witness: WitnessHere, operator: Operator, old: int) -> int:
    """The witness' answer to what the operator has now, with the proof that he can make."""
    size = len(operator.entries)
    proof = tuple(operator.consistency_proof(old, size)) if size > old else ()
    return int(witness.witness.add_checkpoint(AddCheckpoint(old, proof, operator.checkpoint()).encode()).status)


@attack(caught_by=("start", "client", "audit", "monitor"))
def test_drop_the_tail(honest: HonestLedger, tmp_path: Path) -> None:
    """The newest predictions never were: first the log is cut, then the head record is made to fit."""
    operator = Operator(honest.data)
    operator.entries = operator.entries[: size_of(honest.older)]
    data = operator.write(tmp_path / "ledger")
    shutil.copy(honest.data / "head", tmp_path / "head")
    with pytest.raises(RuntimeError) as refused:
        RunningServer(data, "--head", str(tmp_path / "head"))
    start_refused(str(refused.value), "it is an old copy, or was cut")

    assert audited_data(data, honest.verifier).exit_status == 0, "a shorter ledger is a ledger"
    folder = operator.export(tmp_path / "public")
    found_by_the_audit(audited_folder(folder, honest.verifier, honest.kept), "truncated")
    found_by_the_audit(audited_data(data, honest.verifier, honest.kept), "truncated")
    with RunningServer(data) as server, honest.client(server.address, tmp_path / "file") as client:
        with noticed_by("client", RollbackError, "put back from an old copy") as told:
            client.checkpoint()
        assert told.value.evidence[0] == honest.kept
    assert honest.monitor(honest_folder(honest, tmp_path / "watched"), tmp_path / "state", 1e9).once() == 0
    told_by_the_monitor(honest.monitor(folder, tmp_path / "state", 1e9), "rollback")


def honest_folder(honest: HonestLedger, root: Path) -> Path:
    """The honest log in files."""
    return Operator(honest.data).export(root)


@attack(caught_by=("start", "client", "emitter", "witness", "monitor"))
def test_restore_an_old_copy_and_go_on(honest: HonestLedger, tmp_path: Path) -> None:
    """A backup is put in place and grows beyond what the ledger had been: nobody asks for the lost part by its size."""
    operator = Operator(honest.data)
    operator.entries = operator.entries[: size_of(honest.older)]
    data = operator.write(tmp_path / "ledger")
    with pytest.raises(RuntimeError) as refused:
        RunningServer(data, "--head", str(honest.data / "head"))
    start_refused(str(refused.value), "it is an old copy, or was cut")

    with RunningServer(data) as server:
        chain = Producer(honest.verifier.name, honest.bank.key)
        append(server, chain.batch())
        append(server, predictions(chain, 400, "after"))
        with (
            honest.client(server.address, tmp_path / "file") as client,
            noticed_by("client", ForkError, "does not go on"),
        ):
            client.checkpoint()
        with honest.emitter(server.address, tmp_path / "emitter-file") as emitter:
            emit(emitter)
            with noticed_by("emitter", ForkError, "does not go on"):
                emitter.flush(10)
            assert (emitter.statistics.acknowledged, emitter.statistics.pending) == (0, 3)
            emitter.close(0.1)
        server.stop()
    gone_on = Operator(data)
    with shown_to_a_witness(honest, tmp_path) as witness:
        refused_by_the_witness(asked_to_cosign(witness, gone_on, size_of(honest.kept)), 422)
        refused_by_the_witness(asked_to_cosign(witness, gone_on, size_of(honest.older)), 409)
    assert honest.monitor(honest_folder(honest, tmp_path / "watched"), tmp_path / "state", 1e9).once() == 0
    told_by_the_monitor(honest.monitor(gone_on.export(tmp_path / "public"), tmp_path / "state", 1e9), "fork")


@attack(caught_by=("client", "emitter", "witness", "monitor"))
def test_two_ledgers_from_one_copy(honest: HonestLedger, tmp_path: Path) -> None:
    """One ledger's files on two machines; each takes batches, and each is a right ledger by itself."""
    sides: list[Operator] = []
    for name in ("one", "two"):
        with RunningServer(honest.copy(tmp_path / name)) as server:
            bank, _ = honest.producers()
            append(server, predictions(bank, 5, name))
            if sides:  # Whoever knows the first is led to the second.
                with (
                    honest.client(server.address, tmp_path / "file", sides[0].checkpoint()) as client,
                    noticed_by("client", ForkError, TWO_TREES),
                ):
                    client.checkpoint()
                with honest.emitter(server.address, tmp_path / "emitter-file", sides[0].checkpoint()) as emitter:
                    emit(emitter)
                    with noticed_by("emitter", ForkError, "does not go on"):
                        emitter.flush(10)
                    emitter.close(0.1)
            server.stop()
        sides.append(Operator(tmp_path / name))
        assert audited_data(tmp_path / name, honest.verifier, honest.kept).exit_status == 0
    with shown_to_a_witness(honest, tmp_path) as witness:
        assert asked_to_cosign(witness, sides[0], size_of(honest.kept)) == 200
        refused_by_the_witness(asked_to_cosign(witness, sides[1], len(sides[0].entries)), 422)
    folders = [side.export(tmp_path / f"public-{place}") for place, side in enumerate(sides)]
    assert honest.monitor(folders[0], tmp_path / "state").once() == 0
    told_by_the_monitor(honest.monitor(folders[1], tmp_path / "state"), "fork")


@attack(caught_by=("witness", "client"))
def test_show_two_histories_to_two_clients(honest: HonestLedger, tmp_path: Path) -> None:
    """The customer is shown what the bank answered, the regulator something else; neither has a reason to doubt."""
    operator = Operator(honest.data)
    answer = operator.batches_of(honest.bank.chain_id)[2][1]
    operator.edit(answer, lambda entry: setattr(entry.prediction, "output_commitment", bytes([9]) * 32))
    with (
        RunningServer(honest.copy(tmp_path / "one")) as one,
        RunningServer(operator.write(tmp_path / "two")) as other,
        honest.client(one.address, tmp_path / "customer", honest.older) as customer,
        honest.client(other.address, tmp_path / "regulator", honest.older) as regulator,
    ):
        for client in (customer, regulator):
            assert client.checkpoint().size > size_of(honest.older)
        shown = regulator.signed_checkpoint()[1]
        with noticed_by("client", ForkError, TWO_TREES) as told:
            customer.compare(shown)
        assert shown in told.value.evidence and len(told.value.evidence) == 2
    with shown_to_a_witness(honest, tmp_path) as witness:
        refused_by_the_witness(asked_to_cosign(witness, operator, size_of(honest.kept)), 422)


@attack(caught_by=("emitter",))
def test_acknowledge_on_a_fork(honest: HonestLedger, tmp_path: Path) -> None:
    """The bank's batches are taken and acknowledged, with all proofs, in a tree that nobody else will be shown."""
    operator = Operator(honest.data)
    index = operator.batches_of(honest.hospital.chain_id)[1][0]
    operator.edit(index, lambda entry: setattr(entry.prediction, "output_commitment", bytes([9]) * 32))
    with (
        RunningServer(operator.write(tmp_path / "ledger")) as server,
        honest.emitter(server.address, tmp_path / "file") as emitter,
    ):
        emit(emitter)
        with noticed_by("emitter", ForkError, "does not go on") as told:
            emitter.flush(10)
        assert told.value.evidence[0] == honest.kept
        assert told.value.folder is not None and (told.value.folder / "newer.txt").exists()
        assert (emitter.statistics.acknowledged, emitter.statistics.pending) == (0, 3)
        emitter.close(0.1)


@attack(caught_by=("client", "receipt verifier", "audit"))
def test_the_old_ledger_key_after_a_change(honest: HonestLedger, tmp_path: Path) -> None:
    """The ledger's key was stolen, and was changed; the thief signs on with the old one, which many have pinned."""
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        new = Verifier.parse(rotate(server.data)["verifier_key"])
        thief = Operator(server.data)
        thief.signer = Signer(*keys.read_signing_key(next((server.data / "keys").glob("*.retired"))))
        bank, _ = honest.producers()
        thief.log(predictions(bank, 1, "stolen"))

        def shown(_: object, response: proofs_pb2.GetCheckpointResponse) -> None:
            response.checkpoint = thief.checkpoint()

        with honest.client(server.address, tmp_path / "file") as client:
            assert client.checkpoint().size < len(thief.entries), "the client follows the change"
        with (
            between(server.address, {methods.GET_CHECKPOINT: shown}) as address,
            honest.client(address, tmp_path / "file", (tmp_path / "file").read_bytes()) as client,
            noticed_by("client", OtherKeyError, "is signed by"),
        ):
            client.checkpoint()
    found_by_the_audit(audited_folder(thief.export(tmp_path / "public"), honest.verifier), "checkpoint_signature")
    with noticed_by("receipt verifier", OtherKeyError, "is signed by"):
        verify_receipt(thief.receipt(honest.prediction), honest.verifier)
    left_out = thief.receipt(honest.prediction, without_key_changes=True)
    with noticed_by("receipt verifier", UnknownPinError, "pinned"):
        verify_receipt(left_out, new)
    # Out of reach: who pinned the stolen key, never heard of the change and asks nobody is shown what the thief likes.
    assert verify_receipt(left_out, honest.verifier).checkpoint.size == len(thief.entries)
