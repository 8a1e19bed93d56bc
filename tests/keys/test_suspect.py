"""What a key sealed that was declared compromised later: still evidence of what was logged, and marked as suspect."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from lineage_ledger.client import Client
from lineage_ledger.emitter import Emitter, Policy
from lineage_ledger.formats import keys
from lineage_ledger.formats.describe import format_time
from lineage_ledger.formats.note import Verifier
from lineage_ledger.receipts import Suspicion, verify_receipt
from lineage_ledger.trace import SealedEntry
from tests.keys.rotating import run
from tests.support.rpc import registered
from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Predictions from before and after the time since when their key is suspect; retired first, then compromised."""
    folder = tmp_path_factory.mktemp("suspect")
    with RunningServer(folder / "l") as server:
        key, key_file = registered(server).key, folder / "producer.key"
        keys.write_signing_key(key_file, "model-server", key)
        with Emitter(server.address, ledger=server.verifier_key, key=key_file, policy=Policy(linger_ms=2)) as emitter:
            binding = emitter.bind(bytes(range(32)))
            found = []
            for number in range(2):
                found.append(str(binding.emit(bytes([number]) * 32, bytes(32), duration_us=1)))
                emitter.flush(20)
                if not number:
                    time.sleep(0.02)
                    since = time.time_ns()
                    time.sleep(0.02)
        retired = run("producers", "retire", "--data", server.data, key.public_key.hex(), "--last-block", "1000")
        run(
            "producers",
            "compromise",
            "--data",
            server.data,
            key.public_key.hex(),
            "--suspect-since",
            format_time(since),
        )
        yield server, found, retired


def test_receipt_trace_and_show_say_so(told, tmp_path):
    server, (before, after), _ = told
    for prediction_id, said in ((before, "none"), (after, "suspect")):
        path = tmp_path / f"{said}.receipt"
        run("receipt", "--data", server.data, prediction_id, "-o", path)
        verified = run("verify", path, "--key", server.verifier_key)
        assert verified["verified"] is True
        traced = run("trace", "--data", server.data, prediction_id)
        assert [document["nodes"][0]["suspicion"] for document in (verified, traced)] == [said, said]
        assert run("show", "--data", server.data, prediction_id)["suspicion"] == said


def test_a_receipt_and_the_list_carry_both_endings(told):
    server, (before, _), retired = told
    with Client(server.address, ledger=server.verifier_key) as client:
        receipt = verify_receipt(client.receipt(before), Verifier.parse(server.verifier_key))
    (signer,) = receipt.signers.values()
    assert signer.retired_index == retired["index"] < signer.compromised_index
    assert signer.last_block == 1_000 and signer.suspect_since_unix_ns > 0
    (listed,) = run("producers", "list", "--data", server.data)["producers"]
    assert (listed["state"], listed["last_block"]) == ("compromised", 1_000)
    assert listed["suspect_since"] == format_time(signer.suspect_since_unix_ns)


@pytest.mark.parametrize(
    ("index", "block_time", "expected"),
    [
        (20, 99, Suspicion.NONE),  # the prediction itself
        (20, 100, Suspicion.SUSPECT),
        (10, 99, Suspicion.NONE),  # before the block: on record by then
        (10, 100, Suspicion.UNKNOWN),
        (40, 99, Suspicion.UNKNOWN),
        (40, 100, Suspicion.SUSPECT),  # after it: on record later still
    ],
)
def test_a_statement_is_suspect_unknown_or_not_by_the_one_block_that_is_shown(told, index, block_time, expected):

    server, (before, _), _ = told
    with Client(server.address, ledger=server.verifier_key) as client:
        receipt = verify_receipt(client.receipt(before), Verifier.parse(server.verifier_key))
    (known,) = receipt.sealed.values()
    sealed = {place: SealedEntry(place, known.entry, place + 2, known.seal) for place in (10, 20, 40)}
    (key,) = receipt.signers
    signers = {key: replace(receipt.signers[key], suspect_since_unix_ns=100)}
    node = replace(receipt.nodes[0], index=20)
    made = replace(
        receipt, nodes=(node,), sealed=sealed, signers=signers, block_index=30, block_time_unix_ns=block_time
    )
    assert made.suspicion(index) is expected
    unharmed = replace(made, signers={key: replace(signers[key], compromised_index=0)})
    assert unharmed.suspicion(index) is Suspicion.NONE


def test_the_audit_counts_them(told):
    server, _, _ = told
    report = run("audit", "--data", server.data, "--key", server.verifier_key)
    assert report["exit_status"] == 0
    (suspect,) = report["suspect"]
    assert (suspect["predictions"], suspect["statements"]) == (1, 0)
