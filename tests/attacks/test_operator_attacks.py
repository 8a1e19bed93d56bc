"""The operator, or a thief of the ledger's key, against producers, clients and whoever verifies.

He repairs all that he can (`operator.Operator`). What gives him away is what others signed, and what others kept.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lineage_ledger.chain_receipts import verify_chain_receipt
from lineage_ledger.errors import (
    ForkError,
    MalformedError,
    ProofError,
    SealError,
    StaleError,
)
from lineage_ledger.formats import packed
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.proven_entries import ReceiptError
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.rpc import methods
from lineage_ledger.v1 import entries_pb2, entry_pb2, proofs_pb2
from lineage_ledger_server.data_dir import DataDir
from tests.attacks.auditing import audited, audited_data, audited_folder
from tests.attacks.between import between
from tests.attacks.catching import (
    TWO_TREES,
    answered_by_the_server,
    attack,
    found_by_the_audit,
    noticed_by,
    refused_by_the_server,
    start_refused,
    told_by_the_monitor,
)
from tests.attacks.honest import HonestLedger, predictions
from tests.attacks.operator import Operator
from tests.audit import stored_ledger
from tests.audit.stored_ledger import StoredLedger
from tests.cli.recorded_ledger import run
from tests.support.producer import retirement
from tests.support.server import RunningServer


@attack(caught_by=("audit", "client", "receipt verifier", "server"))
def test_edit_an_entry_and_repair_its_tiles(honest: HonestLedger, tmp_path: Path) -> None:
    """What the bank's model answered is changed; hashes, tiles, indexes and the checkpoint are made to fit."""
    operator = Operator(honest.data)
    index = operator.batches_of(honest.bank.chain_id)[2][1]
    operator.edit(index, lambda entry: setattr(entry.prediction, "output_commitment", bytes([9]) * 32))

    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "root_mismatch")
    with noticed_by("receipt verifier", ReceiptError, "do not lead to its seal's root"):
        verify_receipt(operator.receipt(honest.prediction), honest.verifier)
    with RunningServer(tmp_path / "private", "--http", "127.0.0.1:0") as server:
        for place in (("--url", server.http_url), ("--server", server.address), ("--data", server.data)):
            said = run("audit", *place, "--key", honest.verifier, "--json")
            assert said.exit_code == 1
            assert [each["kind"] for each in json.loads(said.stdout)["findings"]] == ["root_mismatch"]
        with honest.client(server.address) as stranger, refused_by_the_server("CORRUPT"):
            stranger.get_prediction(honest.prediction)

        def made_to_fit(_: object, response: entries_pb2.GetPredictionResponse) -> None:
            response.prediction.CopyFrom(operator.logged(honest.prediction))

        with (
            between(server.address, {methods.GET_PREDICTION: made_to_fit}) as address,
            honest.client(address) as stranger,
            noticed_by("client", ProofError, "inclusion proof of index 1"),
        ):
            stranger.get_prediction(honest.prediction)
        with (
            honest.client(server.address, tmp_path / "file") as client,
            noticed_by("client", ForkError, TWO_TREES) as told,
        ):
            client.checkpoint()
        assert told.value.evidence[0] == honest.kept and len(told.value.evidence) == 2


@attack(caught_by=("audit", "client"))
def test_edit_what_no_producer_signed(honest: HonestLedger, tmp_path: Path) -> None:
    """The bank's name on record becomes another, signed by the admin: only what was kept elsewhere shows it."""
    operator = Operator(honest.data)

    def rename(entry: entry_pb2.Entry) -> None:
        body = entry_pb2.ProducerRegistration.FromString(entry.producer_registered.body)
        body.name = "somebody else"
        signed = f"lineage-ledger/registration/v1\n{operator.origin}\n".encode() + body.SerializeToString()
        entry.producer_registered.body = body.SerializeToString()
        entry.producer_registered.admin_signature = operator.admin_key.sign(signed)

    operator.edit(2, rename)
    folder = operator.export(tmp_path / "public")
    assert audited_folder(folder, honest.verifier).exit_status == 0, (
        "without a checkpoint it is a ledger like any other"
    )
    found_by_the_audit(audited_folder(folder, honest.verifier, honest.older), "other_history")
    with (
        RunningServer(operator.write(tmp_path / "ledger")) as server,
        honest.client(server.address, tmp_path / "file", honest.older) as client,
        noticed_by("client", ForkError, "does not go on"),
    ):
        client.checkpoint()


@attack(caught_by=("server", "start", "audit"))
def test_edit_a_tile(honest: HonestLedger, tmp_path: Path) -> None:
    """A hash is changed where hashes are stored, in the lowest level and above."""
    for kind in ("log/bundles", "log/tiles"):
        data = honest.copy(tmp_path / kind.replace("/", "-"))
        ledger = StoredLedger(DataDir(data), honest.verifier)
        value = next(value for value in stored_ledger.values(ledger) if value.kind == kind)
        with RunningServer(data) as server, honest.client(server.address) as client:
            before = client.get_entry(7).data
            stored_ledger.write(ledger, value, stored_ledger.flipped(value.content, 9))
            answered_by_the_server(client.get_entry(7).data == before)  # from what it had verified
            server.kill()
        found_by_the_audit(audited_data(data, honest.verifier), "tile_changed")
        with pytest.raises(RuntimeError) as refused:
            RunningServer(data)
        start_refused(str(refused.value), "does not hash to what the tile above it says|of its tiles, was changed")


@attack(caught_by=("audit", "receipt verifier"))
def test_reorder_two_entries(honest: HonestLedger, tmp_path: Path) -> None:
    """Two answers of the bank's model change places, and with them their numbers."""
    operator = Operator(honest.data)
    first, second = operator.batches_of(honest.bank.chain_id)[2][1:3]
    operator.entries[first], operator.entries[second] = operator.entries[second], operator.entries[first]
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "root_mismatch")
    with noticed_by("receipt verifier", ReceiptError, "do not lead to its seal's root"):
        verify_receipt(operator.receipt(honest.prediction), honest.verifier)


@attack(caught_by=("audit", "receipt verifier"))
def test_reorder_two_batches(honest: HonestLedger, tmp_path: Path) -> None:
    """Two whole batches of the bank change places, each with the seal that the bank made for it."""
    operator = Operator(honest.data)
    _, earlier, later, _ = operator.batches_of(honest.bank.chain_id)
    entries = operator.entries
    moved = [entries[index] for index in later] + entries[earlier.stop : later.start]
    operator.entries = entries[: earlier.start] + moved + [entries[index] for index in earlier] + entries[later.stop :]
    operator.relink()
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "sequence_gap")
    with noticed_by("receipt verifier", ReceiptError, "does not follow"):
        verify_chain_receipt(operator.chain_receipt(honest.bank.chain_id), honest.verifier)


@attack(caught_by=("audit", "receipt verifier"))
def test_remove_a_batch_from_the_middle_of_a_chain(honest: HonestLedger, tmp_path: Path) -> None:
    """Three hundred predictions of the bank never were."""
    operator = Operator(honest.data)
    batch = operator.batches_of(honest.bank.chain_id)[2]
    del operator.entries[batch.start : batch.stop]
    operator.relink()
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "sequence_gap")
    with noticed_by("receipt verifier", ReceiptError, "does not follow"):
        verify_chain_receipt(operator.chain_receipt(honest.bank.chain_id), honest.verifier)


@attack(caught_by=("audit", "client"))
def test_remove_the_end_of_a_chain_or_all_of_it(honest: HonestLedger, tmp_path: Path) -> None:
    """The whole ledger is made anew without the hospital: only what was kept from before shows it."""
    operator = Operator(honest.data)
    for batch in reversed(operator.batches_of(honest.hospital.chain_id)):
        del operator.entries[batch.start : batch.stop]
    operator.relink()
    folder = operator.export(tmp_path / "public")
    assert audited_folder(folder, honest.verifier).exit_status == 0, (
        "without a checkpoint it is a ledger like any other"
    )
    found_by_the_audit(audited_folder(folder, honest.verifier, honest.older), "other_history", "no_block")
    with (
        RunningServer(operator.write(tmp_path / "ledger")) as server,
        honest.client(server.address, tmp_path / "file", honest.older) as client,
        noticed_by("client", ForkError, "does not go on"),
    ):
        client.checkpoint()


@attack(caught_by=("server", "client", "receipt verifier", "audit"))
def test_strip_a_signature(honest: HonestLedger, tmp_path: Path) -> None:
    """A seal without its signature; a checkpoint without one."""
    operator = Operator(honest.data)
    seal_index = operator.batches_of(honest.bank.chain_id)[2][-1]
    operator.edit(seal_index, lambda entry: entry.seal.ClearField("signature"))
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "encoding", "sequence_gap")
    with noticed_by("receipt verifier", ReceiptError, "is malformed"):
        verify_receipt(operator.receipt(honest.prediction), honest.verifier)
    unsigned = honest.receipt[: honest.receipt.rindex("— ".encode())]
    with noticed_by("receipt verifier", MalformedError, "no signatures"):
        verify_receipt(unsigned, honest.verifier)

    def unsigned_checkpoint(_: object, response: proofs_pb2.GetCheckpointResponse) -> None:
        response.checkpoint = response.checkpoint[: response.checkpoint.index("— ".encode())]

    with RunningServer(tmp_path / "private") as server:
        with honest.client(server.address) as client, refused_by_the_server("CORRUPT"):
            client.get_prediction(honest.prediction)
        with (
            between(server.address, {methods.GET_CHECKPOINT: unsigned_checkpoint}) as address,
            honest.client(address) as client,
            noticed_by("client", MalformedError, "no signatures"),
        ):
            client.checkpoint()


@attack(caught_by=("client", "receipt verifier", "audit"))
def test_swap_signatures(honest: HonestLedger, tmp_path: Path) -> None:
    """Two seals of the bank, each with the signature of the other."""
    operator = Operator(honest.data)
    one, other = (batch[-1] for batch in operator.batches_of(honest.bank.chain_id)[2:])
    signatures = [entry_pb2.Entry.FromString(operator.entries[index]).seal.signature for index in (other, one)]
    for index, signature in zip((one, other), signatures, strict=True):
        operator.edit(index, lambda entry, it=signature: setattr(entry.seal, "signature", it))  # type: ignore[misc]  # bound now
    found_by_the_audit(audited(operator, tmp_path, honest.verifier), "bad_signature")
    with noticed_by("receipt verifier", SealError, "signature"):
        verify_receipt(operator.receipt(honest.prediction), honest.verifier)
    with (
        RunningServer(tmp_path / "private") as server,
        honest.client(server.address) as client,
        noticed_by("client", SealError, "signature"),
    ):
        client.get_prediction(honest.prediction)


@attack(caught_by=("audit", "monitor", "client"))
def test_a_block_with_a_false_time(honest: HonestLedger, tmp_path: Path) -> None:
    """Yesterday's predictions become last week's, or tomorrow's: blocks' times go back, or leave the present."""
    back = Operator(honest.data)
    bank, _ = honest.producers()
    back.log(predictions(bank, 1, "now"), time_unix_ns=time.time_ns() - 7 * 86_400 * 10**9)
    found_by_the_audit(audited(back, tmp_path, honest.verifier), "block_time")
    told_by_the_monitor(honest.monitor(tmp_path / "public", tmp_path / "state", 1e9), "finding")

    bank, _ = honest.producers()
    ahead = Operator(honest.data)
    ahead.log(predictions(bank, 1, "now"), time_unix_ns=time.time_ns() + 7 * 86_400 * 10**9)
    folder = ahead.export(tmp_path / "ahead")
    assert audited_folder(folder, honest.verifier).exit_status == 0, "a ledger may be ahead of this machine's clock"
    told_by_the_monitor(honest.monitor(folder, tmp_path / "state-ahead"), "stale")
    with (
        RunningServer(ahead.write(tmp_path / "ledger")) as server,
        honest.client(server.address, max_block_age_s=180.0) as client,
        noticed_by("client", StaleError, "ahead of this machine's clock"),
    ):
        client.checkpoint()


@attack(caught_by=("audit",))
def test_a_block_with_a_false_number(honest: HonestLedger, tmp_path: Path) -> None:
    """A retired key seals on, in a block that says the number up to which it was allowed to."""
    operator = Operator(honest.data)
    bank, _ = honest.producers()
    allowed = entry_pb2.Entry.FromString(operator.entries[-1]).block.number
    operator.log(packed.pack([retirement(operator.origin, bank.key.public_key, operator.admin_key, allowed)]))
    number = PredictionId(bank.chain_id, bank.number, bank.number.to_bytes(4, "big"))
    operator.log(predictions(bank, 1, "late"))
    with pytest.raises(ReceiptError, match="was retired as of block"):
        verify_receipt(operator.receipt(number), honest.verifier)
    last = entry_pb2.Entry.FromString(operator.entries[-1])
    last.block.number = allowed
    operator.entries[-1] = last.SerializeToString()
    report = audited_folder(operator.export(tmp_path / "public"), honest.verifier)
    found_by_the_audit(report, "block_number", "retired_key")
    # Out of reach: a receipt has one block, and takes its number and time from the ledger.
    assert verify_receipt(operator.receipt(number), honest.verifier).block_number == allowed
