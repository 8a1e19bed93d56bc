"""Witnesses that work with the operator, or against him."""

from __future__ import annotations

import time
from pathlib import Path

from lineage_ledger.emitter import Backoff, Emitter, Policy
from lineage_ledger.errors import ForkError, OtherKeyError, QuorumError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.formats.note import Cosigner, Note, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.formats.witness_protocol import AddCheckpoint
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.v1 import admin_pb2, append_pb2
from tests.attacks.catching import (
    TWO_TREES,
    answered_by_the_server,
    attack,
    noticed_by,
    refused_by_the_server,
    refused_by_the_witness,
)
from tests.attacks.honest import HonestLedger, emit, predictions, size_of
from tests.attacks.operator import Operator
from tests.emitter.fake_ledger import FakeLedger
from tests.keys.rotating import rotate
from tests.support.rpc import admin_stub
from tests.support.server import RunningServer
from tests.witness.running_witness import RunningWitness, WitnessHere
from tests.witness.test_lying_witnesses import Liar

CARELESS = Cosigner("careless.example", keys.SigningKey.from_seed(b"careless".ljust(32, b"\0")))


def cosigned(note: bytes, *cosigners: Cosigner) -> bytes:
    """The checkpoint with cosignatures that nobody looked before making."""
    text = Note.parse(note).text
    return note + b"".join(each.cosign(text, int(time.time())).encode().encode() for each in cosigners)


@attack(caught_by=("witness", "client", "receipt verifier"))
def test_a_witness_that_signs_what_it_has_not_checked(honest: HonestLedger, tmp_path: Path) -> None:
    """One witness cosigns a fork; the quorum needs another, which does not."""
    fork = Operator(honest.data)
    index = fork.batches_of(honest.hospital.chain_id)[1][0]
    fork.edit(index, lambda entry: setattr(entry.prediction, "output_commitment", bytes([9]) * 32))
    size = size_of(honest.kept)
    with RunningWitness(tmp_path / "witness", honest.verifier, name="careful.example") as careful:
        policy = WitnessPolicy.parse(
            f"log {honest.verifier}\nwitness careless {CARELESS.verifier} http://127.0.0.1:1/\n"
            f"{careful.policy_line}\ngroup both all careless {careful.policy_line.split()[1]}\nquorum both\n".encode()
        )
        answer = careful.post(AddCheckpoint(0, (), honest.kept).encode())
        assert answer.status == 200
        witnessed = cosigned(honest.kept, CARELESS) + answer.body
        assert len(policy.check(witnessed, honest.verifier)) == 2

        refused_by_the_witness(careful.post(AddCheckpoint(size, (), fork.checkpoint()).encode()).status, 422)
    shown = cosigned(fork.checkpoint(), CARELESS)
    grafted = shown + answer.body  # The careful witness' signature of the honest tree, under the fork.
    fork.shown = shown
    verify_receipt(fork.receipt(honest.prediction), honest.verifier)  # who has no policy, and no memory, cannot tell
    for note, error, text in ((shown, QuorumError, "careless cosigned it"), (grafted, SignatureError, "careful")):
        fork.shown = note
        with noticed_by("receipt verifier", error, text):
            verify_receipt(fork.receipt(honest.prediction), honest.verifier, policy)
    with (
        RunningServer(fork.write(tmp_path / "fork")) as server,
        honest.client(server.address, tmp_path / "file") as client,
        noticed_by("client", ForkError, TWO_TREES),
    ):
        client.checkpoint()


@attack(caught_by=("server",))
def test_a_witness_that_answers_with_anothers_signature(honest: HonestLedger, tmp_path: Path) -> None:
    """It lets another one work, and hands in that one's cosignatures as its own: two of a quorum would be one."""
    careful = WitnessHere(tmp_path / "witness", honest.verifier, name="careful.example")

    def hand_in(request: AddCheckpoint) -> tuple[int, str, bytes]:
        signature = careful.cosigner.cosign(Note.parse(request.checkpoint).text, int(time.time()))
        return 200, "text/plain", signature.encode().encode()

    liar = Liar(hand_in)
    lines = [
        f"log {honest.verifier}",
        careful.policy_line,
        f"witness idle {CARELESS.verifier} {liar.url}/w",
        "group both all careful.example idle",
        "quorum both",
    ]
    (tmp_path / "policy").write_text("\n".join([*lines, ""]))
    try:
        data = honest.copy(tmp_path / "ledger")
        with RunningServer(data, "--witness-policy", str(tmp_path / "policy")) as server:
            deadline_s = time.monotonic() + 10
            while True:
                said = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=10)
                by_name = {witness.name: witness for witness in said.witnesses}
                if by_name["careful.example"].size and by_name["careless.example"].error:
                    break
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            answered_by_the_server(said.witnessed_size == 0 and by_name["careless.example"].size == 0)
            assert "no line of" in by_name["careless.example"].error
            with honest.client(server.address) as client, refused_by_the_server("NOT_WITNESSED"):
                client.signed_checkpoint(witnessed=True)
    finally:
        liar.close()
        careful.stop()


@attack(caught_by=("emitter",))
def test_say_witnessed_without_witnesses() -> None:
    """The operator acknowledges as witnessed what no witness has seen, or only the one that signs whatever he likes."""
    careful = Cosigner("careful.example", keys.SigningKey.from_seed(b"careful".ljust(32, b"\0")))
    ledger = FakeLedger()
    ledger.faults.promise = append_pb2.PROMISE_WITNESSED
    policy = WitnessPolicy.parse(
        f"witness careless {CARELESS.verifier}\nwitness careful {careful.verifier}\n"
        "group both all careless careful\nquorum both\n".encode()
    )
    backoff = Backoff(least_s=0.01, most_s=0.05, refused_s=0.05)
    waits = Policy(prove=True, wait_for="witnessed", exit_timeout_s=0, backoff=backoff)
    key = keys.SigningKey.from_seed(bytes(32))
    try:
        with Emitter(ledger.target, ledger=ledger.vkey, key=key, policy=waits) as trusting:
            emit(trusting)
            assert trusting.flush(5), "who names no witnesses takes the ledger's word"
        with Emitter(ledger.target, ledger=ledger.vkey, key=key, policy=waits, witness_policy=policy) as emitter:
            for cosigners in ((), (CARELESS,)):

                def sign(response: append_pb2.AppendStreamResponse, by: tuple[Cosigner, ...] = cosigners) -> None:
                    response.checkpoint = cosigned(response.checkpoint, *by)

                ledger.faults.tamper = sign
                emit(emitter)
                with noticed_by("emitter", QuorumError, "careless cosigned it|no witness of it cosigned it"):
                    emitter.flush(5)
                assert emitter.statistics.acknowledged == 0
            ledger.faults.tamper = lambda response: sign(response, (CARELESS, careful))
            deadline_s = time.monotonic() + 5
            while emitter.statistics.pending:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            assert emitter.statistics.acknowledged == 6
    finally:
        ledger.stop()


@attack(caught_by=("receipt verifier", "witness"))
def test_a_stolen_ledger_key_that_a_witness_still_knows(honest: HonestLedger, tmp_path: Path) -> None:
    """The ledger changed its key, one witness was told, another was not; the thief of the old key goes to both."""
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        new = Verifier.parse(rotate(server.data)["verifier_key"])
        server.stop()
    ledger, thief = Operator(tmp_path / "ledger"), Operator(tmp_path / "ledger")
    thief.signer = Operator(honest.data).signer
    size = len(ledger.entries)
    bank, hospital = honest.producers()
    thief.log(predictions(bank, 1, "stolen"))

    def ask(witness: WitnessHere, of: Operator, old: int) -> int:
        proof = of.consistency_proof(old, len(of.entries)) if 0 < old < len(of.entries) else ()
        return int(witness.witness.add_checkpoint(AddCheckpoint(old, tuple(proof), of.checkpoint()).encode()).status)

    told = WitnessHere(tmp_path / "told", new, name="told.example")
    untold = WitnessHere(tmp_path / "untold", honest.verifier, new, name="untold.example")
    try:
        assert [ask(witness, ledger, 0) for witness in (told, untold)] == [200, 200]
        refused_by_the_witness(ask(told, thief, size), 403)
        assert ask(untold, thief, size) == 200, "out of reach: to this witness both keys are the ledger's"
        ledger.log(predictions(hospital, 1, "honest"))
        assert ask(untold, ledger, size) == 409, "and so it refuses the honest ledger from now on"
        assert ask(told, ledger, size) == 200
    finally:
        told.stop()
        untold.stop()
    thief.shown = cosigned(thief.checkpoint(), untold.cosigner)
    policy = WitnessPolicy.parse(f"witness w {untold.cosigner.verifier}\nquorum w\n".encode())
    assert policy.check(thief.shown)
    with noticed_by("receipt verifier", OtherKeyError, "is signed by"):
        verify_receipt(thief.receipt(honest.prediction), new, policy)
