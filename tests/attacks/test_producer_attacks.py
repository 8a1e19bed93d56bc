"""Producers, and thieves of their keys, against a running ledger; and, where the operator helps them, against all.

An operator who logs what his own server would refuse is caught by whoever reads: the audit, and, where it concerns a
prediction, whoever verifies its receipt.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path

from lineage_ledger import kernel
from lineage_ledger.chain_receipts import verify_chain_receipt
from lineage_ledger.errors import SealError, SignatureError
from lineage_ledger.formats import merkle, packed, seal
from lineage_ledger.formats.admin import build_ledger_key_change
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.proven_entries import ReceiptError
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.v1 import entry_pb2
from tests.attacks.auditing import audited, audited_data, audited_folder
from tests.attacks.catching import (
    answered_by_the_server,
    attack,
    found_by_the_audit,
    noticed_by,
    refused_by_the_server,
)
from tests.attacks.honest import HonestLedger, admin_key, administer, append, predictions
from tests.attacks.operator import Operator
from tests.support.producer import Producer, a_prediction, compromise, registration, retirement
from tests.support.server import RunningServer


def first_of(producer: Producer) -> PredictionId:
    """The id of the prediction that the producer's next batch begins with, as `predictions` makes it."""
    return PredictionId(producer.chain_id, producer.number, producer.number.to_bytes(4, "big"))


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_another_producers_key(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """The hospital goes on with the bank's chain, under its own key; then it claims to be the bank."""
    bank, hospital = honest.producers()
    said_to_be = first_of(bank)
    entries = [a_prediction(bank.number)]
    body = bank.body(entries)
    body.public_key = hospital.key.public_key
    batch = packed.pack([*entries, seal.build_seal(body, honest.verifier.name, hospital.key)])
    with refused_by_the_server("CHAIN_ID_MISMATCH"):
        append(served, batch)
    claimed = packed.pack([*entries, seal.build_seal(bank.body(entries), honest.verifier.name, hospital.key)])
    with refused_by_the_server("BAD_SIGNATURE"):
        append(served, claimed)

    operator = Operator(honest.data)
    operator.log(batch)
    with noticed_by("receipt verifier", ReceiptError, "another key than the one that opened its chain"):
        verify_receipt(operator.receipt(said_to_be), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "chain_id_mismatch")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_not_yet_registered_key(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """A stranger appends; the operator logs it, and lets an admin register the key only afterwards."""
    stranger = Producer(honest.verifier.name)
    opening, number = stranger.batch(), first_of(stranger)
    batch = predictions(stranger, 2, "stranger")
    with refused_by_the_server("UNKNOWN_KEY"):
        append(served, opening)

    operator = Operator(honest.data)
    operator.log(opening, batch, packed.pack([registration(operator.origin, stranger.key, operator.admin_key)]))
    with noticed_by("receipt verifier", ReceiptError, "is not registered before it"):
        verify_receipt(operator.receipt(number), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "unknown_key")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_retired_key(honest: HonestLedger, tmp_path: Path) -> None:
    """A key goes on after the last block that was allowed, and opens a chain."""
    bank, _ = honest.producers()
    second = Producer(honest.verifier.name, bank.key)
    opening = second.batch()
    number, batch = first_of(bank), predictions(bank, 2, "late")
    ended = retirement(honest.verifier.name, bank.key.public_key, admin_key(honest.data), last_block=3)
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        administer(server, ended)
        for late in (batch, opening):
            with refused_by_the_server("RETIRED_KEY"):
                append(server, late)

    operator = Operator(honest.data)
    operator.log(packed.pack([ended]))
    operator.log(batch)
    with noticed_by("receipt verifier", ReceiptError, "was retired as of block 3"):
        verify_receipt(operator.receipt(number), honest.verifier)
    with noticed_by("receipt verifier", ReceiptError, "was retired as of block 3"):
        verify_chain_receipt(operator.chain_receipt(bank.chain_id), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path / "a", honest.verifier), "retired_key")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_compromised_key(honest: HonestLedger, tmp_path: Path) -> None:
    """A thief goes on after the theft was declared."""
    thief, _ = honest.producers()
    number, batch = first_of(thief), predictions(thief, 2, "stolen")
    declared = compromise(honest.verifier.name, thief.key.public_key, admin_key(honest.data))
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        administer(server, declared)
        with refused_by_the_server("COMPROMISED_KEY"):
            append(server, batch)

    operator = Operator(honest.data)
    operator.log(packed.pack([declared]))
    operator.log(batch)
    with noticed_by("receipt verifier", ReceiptError, "was declared compromised before it"):
        verify_receipt(operator.receipt(number), honest.verifier)
    with noticed_by("receipt verifier", ReceiptError, "was declared compromised before the seal"):
        verify_chain_receipt(operator.chain_receipt(thief.chain_id), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path / "a", honest.verifier), "compromised_key")


@attack(caught_by=("server", "audit"))
def test_occupy_anothers_chain_id(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """The hospital opens the chain that the bank was about to open, so that the bank could not."""
    bank, hospital = honest.producers()
    wanted = Producer(honest.verifier.name, bank.key)
    body = wanted.body()
    body.public_key = hospital.key.public_key
    squatting = packed.pack([seal.build_seal(body, honest.verifier.name, hospital.key)])
    with refused_by_the_server("CHAIN_ID_MISMATCH"):
        append(served, squatting)
    assert append(served, wanted.batch()).batch_sequence == 0, "the bank opens it"

    operator = Operator(honest.data)
    operator.log(squatting)
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "chain_id_mismatch")


@attack(caught_by=("server", "audit", "receipt verifier"))
def test_two_contents_under_one_sequence(honest: HonestLedger, tmp_path: Path) -> None:
    """A producer seals one number twice, to deny either later: the chain ends there, with both on record."""
    one, _ = honest.producers()
    other = copy.copy(one)
    first, second = predictions(one, 2, "one"), predictions(other, 3, "other")
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        append(server, first)
        with refused_by_the_server("SEQUENCE_CONFLICT") as refused:
            append(server, second)
        index = int(refused.value.metadata["conflict_index"])
        with honest.client(server.address) as client:
            conflict = client.get_entry(index).entry.conflict
            seals = [packed.split(batch)[-1] for batch in (first, second)]
            assert [conflict.first_seal, conflict.second_seal] == seals
            ((_, shown),) = client.chain_receipts(one.chain_id)
            assert shown.conflict_index == index
        with refused_by_the_server("CHAIN_ENDED"):
            append(server, predictions(one, 1, "one"))
        server.stop()
    report = audited_data(tmp_path / "ledger", honest.verifier)
    assert (report.exit_status, report.counts.conflicts) == (0, 1)

    operator = Operator(tmp_path / "ledger")  # who lets the producer go on all the same
    operator.log(predictions(other, 1, "more"))
    with noticed_by("receipt verifier", ReceiptError, "does not follow"):
        verify_chain_receipt(operator.chain_receipt(one.chain_id), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path / "a", honest.verifier), "chain_ended")


@attack(caught_by=("server", "audit"))
def test_replay_a_batch(honest: HonestLedger, tmp_path: Path) -> None:
    """Whoever saw a batch on its way sends it again, so that predictions would count twice."""
    bank, _ = honest.producers()
    batch = predictions(bank, 3, "new")
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        first = append(server, batch)
        again = append(server, batch)
        answered_by_the_server(again.duplicate and again.first_index == first.first_index)
        with honest.client(server.address) as client:
            assert client.checkpoint().size == first.seal_index + 2
    operator = Operator(honest.data)
    operator.log(batch, batch)
    found_by_the_audit(audited(operator, tmp_path / "a", honest.verifier), "sequence_gap")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_replay_a_batch_into_another_ledger(honest: HonestLedger, tmp_path: Path) -> None:
    """The bank's key is registered in two ledgers; what it sealed for the one is shown as said in the other."""
    bank, _ = honest.producers()
    elsewhere = "example.com/ledger/elsewhere"
    with RunningServer(tmp_path / "ledger", "--origin", elsewhere) as server:
        administer(server, registration(elsewhere, bank.key, admin_key(server.data)))
        new = Producer(honest.verifier.name, bank.key)
        opening = new.batch()
        with refused_by_the_server("CHAIN_ID_MISMATCH"):
            append(server, opening)
        body = seal.parse_seal(packed.split(opening)[0]).body  # and with the id that it would have there:
        body.chain_id = seal.chain_id(elsewhere, bank.key.public_key, new.nonce)
        moved = packed.pack([seal.build_seal(body, honest.verifier.name, bank.key)])
        with refused_by_the_server("BAD_SIGNATURE"):
            append(server, moved)
        server.stop()
        pinned = server.verifier_key

    operator = Operator(tmp_path / "ledger")
    operator.log(moved)
    with noticed_by("receipt verifier", SealError, "signature"):
        verify_chain_receipt(operator.chain_receipt(body.chain_id), Verifier.parse(pinned))
    found_by_the_audit(audited(operator, tmp_path / "a", Verifier.parse(pinned)), "bad_signature")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_an_entry_with_two_encodings(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """A number is written with a byte more than it takes: to other readers it is the same, with another hash."""
    bank, _ = honest.producers()
    usual = a_prediction(bank.number, row=1)
    assert usual[:4] == b"\x0a" + usual[1:2] + b"\x08\x01"
    longer = usual[:1] + bytes([usual[1] + 1]) + b"\x08\x81\x00" + usual[4:]
    assert entry_pb2.Entry.FromString(longer) == entry_pb2.Entry.FromString(usual)
    number = first_of(bank)
    body = bank.body([usual])
    body.root = kernel.tree_root(merkle.leaf_hash(longer))
    batch = bank.seal([longer], body)
    with refused_by_the_server("MALFORMED_ENTRY"):
        append(served, batch)

    operator = Operator(honest.data)
    operator.log(batch)
    with noticed_by("receipt verifier", ReceiptError, "is malformed"):
        verify_receipt(operator.receipt(number), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "encoding")


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_graft_a_signature(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """What the bank signed for one batch, or for being registered, is put under another seal."""
    bank, _ = honest.producers()
    number = first_of(bank)
    good = packed.split(predictions(copy.copy(bank), 2, "signed"))
    entries = [a_prediction(bank.number, request_id=b"not signed"), a_prediction(bank.number + 1)]
    forged = entry_pb2.Entry.FromString(packed.split(bank.batch(entries))[-1])
    forged.seal.signature = entry_pb2.Entry.FromString(good[-1]).seal.signature
    batch = packed.pack([*entries, forged.SerializeToString()])
    with refused_by_the_server("BAD_SIGNATURE"):
        append(served, batch)

    operator = Operator(honest.data)
    operator.log(batch)
    with noticed_by("receipt verifier", SealError, "signature"):
        verify_receipt(operator.receipt(number), honest.verifier)
    found_by_the_audit(audited(operator, tmp_path / "a", honest.verifier), "bad_signature")

    operator = Operator(honest.data)  # a registration with the proof of possession of another key
    other = Producer(operator.origin)
    grafted = entry_pb2.Entry.FromString(registration(operator.origin, other.key, operator.admin_key))
    real = entry_pb2.Entry.FromString(registration(operator.origin, honest.bank.key, operator.admin_key))
    grafted.producer_registered.possession_signature = real.producer_registered.possession_signature
    opening, number = other.batch(), first_of(other)
    operator.log(packed.pack([grafted.SerializeToString()]), opening, predictions(other, 1, "other"))
    with noticed_by("receipt verifier", SignatureError, "did not sign that it has the key"):
        verify_receipt(operator.receipt(number), honest.verifier)


@attack(caught_by=("server", "audit"))
def test_a_ledgers_own_entry_from_a_producer(honest: HonestLedger, served: RunningServer, tmp_path: Path) -> None:
    """A producer puts a block, or an admin's entry, among its own: a block would give its predictions another time."""
    bank, _ = honest.producers()
    block = entry_pb2.Block(number=99, time_unix_ns=1, previous_block_hash=bytes(range(32)))
    entries = [
        entry_pb2.Entry(block=block).SerializeToString(),
        registration(honest.verifier.name, Producer("x").key, admin_key(honest.data)),
        packed.split(predictions(copy.copy(bank), 1, "inner"))[-1],
    ]
    for entry in entries:
        mine = copy.copy(bank)
        batch = mine.seal([entry], mine.body([entry]))
        with refused_by_the_server("KIND_NOT_ALLOWED"):
            append(served, batch)
        operator = Operator(honest.data)
        operator.log(batch)
        report = audited(operator, tmp_path / entry[:1].hex(), honest.verifier)
        assert "count_mismatch" in {finding.kind for finding in report.findings}
        found_by_the_audit(report, *{finding.kind for finding in report.findings})


@attack(caught_by=("server",))
def test_a_cloned_machine(honest: HonestLedger, tmp_path: Path) -> None:
    """A machine and its copy both go on with the bank's chain. Whoever comes second is refused, and learns why."""
    machine, _ = honest.producers()
    clone, behind = copy.copy(machine), copy.copy(machine)
    ahead = copy.copy(machine)
    predictions(ahead, 1, "never sent")
    with RunningServer(honest.copy(tmp_path / "ledger")) as server:
        with refused_by_the_server("SEQUENCE_GAP"):
            append(server, predictions(ahead, 1, "ahead"))
        append(server, predictions(machine, 3, "machine"))
        append(server, predictions(machine, 3, "machine"))
        with refused_by_the_server("SEQUENCE_CONFLICT"):
            append(server, predictions(clone, 2, "clone"))
        for one in (machine, behind):
            with refused_by_the_server("CHAIN_ENDED" if one is machine else "SEQUENCE_CONFLICT"):
                append(server, predictions(one, 1, "later"))
        fresh = Producer(honest.verifier.name, machine.key)
        assert append(server, fresh.batch()).batch_sequence == 0, "a new chain of the same key goes on"


@attack(caught_by=("server", "receipt verifier", "audit"))
def test_an_admins_key_alone_changes_the_ledgers_key(
    honest: HonestLedger, served: RunningServer, tmp_path: Path
) -> None:
    """A thief of the admin's key puts a ledger key of his own in force, to sign whatever he likes."""
    origin, own, guessed = honest.verifier.name, SigningKey.generate(), SigningKey.generate()
    change = build_ledger_key_change(
        origin, old_key=guessed, new_key=own, time_unix_ns=time.time_ns(), admin_key=admin_key(honest.data)
    )
    forged = entry_pb2.Entry.FromString(change)
    body = entry_pb2.LedgerKeyChange.FromString(forged.ledger_key.body)
    body.old_public_key = honest.verifier.public_key  # which the thief cannot sign for
    message = f"lineage-ledger/ledger-key/v1\n{origin}\n".encode() + body.SerializeToString()
    forged.ledger_key.body = body.SerializeToString()
    forged.ledger_key.old_signature = guessed.sign(message)
    forged.ledger_key.new_signature = own.sign(message)
    forged.ledger_key.admin_signature = admin_key(honest.data).sign(message)
    entry = forged.SerializeToString()
    with refused_by_the_server("BAD_SIGNATURE"):
        administer(served, entry)

    thief = Operator(honest.data)
    thief.log(packed.pack([entry]))
    thief.signer = Signer(origin, own)
    with noticed_by("receipt verifier", SignatureError, "signature|sign"):
        verify_receipt(thief.receipt(honest.prediction), honest.verifier)
    report = audited_folder(thief.export(tmp_path / "public"), honest.verifier)
    found_by_the_audit(report, "ledger_key")
