"""Lineage receipts: they verify offline, every changed byte is refused, and nothing can be taken out or put in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import LineageError, MalformedError, ProofError, SignatureError
from lineage_ledger.formats import merkle, receipt, statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.proven_entries import ReceiptError
from lineage_ledger.receipts import verify_receipt
from lineage_ledger_server.errors import LimitError, NotFoundError, RefusedError
from lineage_ledger_server.services.receipt import make_receipt
from tests.index.served_log import ServedLog
from tests.receipt.changes import CHANGES, FORM, rebuilt
from tests.trace.graphs import Demo, demo
from tests.trace.small_ledger import ORIGIN, SmallLedger, digest_text, seeded_key
from tests.vectors import make_receipts

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parent.parent / "vectors" / "receipts"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, ServedLog]]:
    it = demo()
    log = ServedLog(it.ledger, tmp_path_factory.mktemp("receipt"))
    log.index()
    yield it, log
    log.close()


@pytest.fixture(scope="module")
def good(served: tuple[Demo, ServedLog]) -> bytes:
    it, log = served
    return make_receipt(log.reader, log.indexer.lookup, it.predictions[7])


def test_vectors_are_what_is_made_now(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    """A receipt is kept for years, so its bytes must never change; made twice, they are the same."""
    it, log = served
    assert make_receipt(log.reader, log.indexer.lookup, it.predictions[7]) == good
    for name, content in make_receipts.files(it, good).items():
        assert (VECTORS / name).read_text() == content
    assert len(good) < 6_000


def test_vectors() -> None:
    vectors = json.loads((VECTORS / "lineage.json").read_text())
    verifier = Verifier.parse(vectors["verifier_key"])
    for case in vectors["accepted"]:
        verified = verify_receipt(case["receipt"].encode(), verifier)
        assert str(verified.prediction_id) == case["prediction_id"]
        assert sorted(verified.entries) == case["entries"]
        assert [node.digest.value.hex() for node in verified.unresolved if node.digest] == case["unresolved_digests"]
    assert len(vectors["refused"]) > 25
    for case in vectors["refused"]:
        with pytest.raises(LineageError):
            verify_receipt(case["receipt"].encode(), verifier)
    vectors = json.loads((VECTORS / "tlog-proof.json").read_text())
    for case in vectors["accepted"]:
        TlogProof.parse(case["proof"].encode()).verify(bytes.fromhex(case["entry"]), verifier)
    for case in vectors["refused"]:
        with pytest.raises(LineageError):
            TlogProof.parse(case["proof"].encode()).verify(bytes.fromhex(case["entry"]), verifier)


def test_verifies_and_tells_the_lineage(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    it, _ = served
    verified = verify_receipt(good, it.ledger.verifier)
    assert verified.prediction_id == it.predictions[7]
    assert verified.prediction.request_id == b"req-7"
    assert verified.origin == ORIGIN
    names = {"deployment", "model", "code", "train", "attestation", "clean", "environment", "prepare", "raw"}
    assert set(verified.entries) == {it.first_prediction + 7} | {it.statements[name] for name in names}
    assert {node.digest.value for node in verified.unresolved if node.digest is not None} == {
        hashlib.sha256(name.encode()).digest() for name in ("config", "never logged")
    }
    assert verified.signer_of(it.first_prediction + 7).name == "server"
    assert verified.signer_of(it.statements["train"]).name == "trainer"
    assert verified.block_number == 5
    assert len(verified.limits) == 3


def test_every_changed_byte_is_refused(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    """One bit of each byte, another for each place, so that all bits are met; through the whole file."""
    it, _ = served
    verify_receipt(good, it.ledger.verifier)
    for place in range(len(good)):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        with pytest.raises(LineageError):
            verify_receipt(bytes(changed), it.ledger.verifier)


@pytest.mark.parametrize("cut", [0, 1, 30, 1_000, -1, -2, -40])
def test_cut_off_is_refused(cut: int, good: bytes, served: tuple[Demo, ServedLog]) -> None:
    with pytest.raises(LineageError):
        verify_receipt(good[:cut], served[0].ledger.verifier)


def test_another_ledgers_key_is_refused(good: bytes) -> None:
    with pytest.raises(SignatureError):
        verify_receipt(good, Verifier(ORIGIN, seeded_key("another").public_key))
    with pytest.raises(SignatureError):
        verify_receipt(good, Verifier("example.com/another", seeded_key("ledger").public_key))


@pytest.mark.parametrize("name", CHANGES)
def test_parts_cannot_be_taken_out_or_put_in(name: str, good: bytes, served: tuple[Demo, ServedLog]) -> None:
    """With a checkpoint and proofs that are right, so that only the receipt's own rules refuse it."""
    it, _ = served
    parsed = Receipt.parse(good)
    assert rebuilt(it, parsed, set(parsed.entries)) == good
    with pytest.raises(ReceiptError):
        verify_receipt(CHANGES[name](it, parsed), it.ledger.verifier)


def test_swapped_parts_are_refused(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    it, log = served
    other = Receipt.parse(make_receipt(log.reader, log.indexer.lookup, it.predictions[8]))
    parsed = Receipt.parse(good)
    swaps: list[dict[str, object]] = [
        {"prediction_id": other.prediction_id},
        {"entries": other.entries},
        {"batches": other.batches},
        {"tree": other.tree},
    ]
    for swap in swaps:
        with pytest.raises((ReceiptError, ProofError)):
            verify_receipt(dataclasses.replace(parsed, **swap).encode(), it.ledger.verifier)  # type: ignore[arg-type]  # by name
    assert verify_receipt(other.encode(), it.ledger.verifier).prediction_id == it.predictions[8]


def test_older_checkpoint_is_refused(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    it, _ = served
    older = demo(299).ledger.checkpoint()
    with pytest.raises(LineageError):
        verify_receipt(dataclasses.replace(Receipt.parse(good), checkpoint=older).encode(), it.ledger.verifier)


@pytest.mark.parametrize("name", FORM)
def test_one_encoding(name: str, good: bytes) -> None:
    old, new = FORM[name]
    changed = good.replace(old.encode(), new.encode(), 1)
    assert changed != good
    with pytest.raises(MalformedError):
        Receipt.parse(changed)


@given(st.binary(max_size=200), st.integers(0, 5_000), st.integers(0, 200))
def test_any_bytes_are_refused_in_good_order(noise: bytes, place: int, cut: int) -> None:
    """Whatever is put over a part of a receipt: an error of ours, never another."""
    vectors = json.loads((VECTORS / "lineage.json").read_text())
    good = vectors["accepted"][0]["receipt"].encode()
    changed = good[:place] + noise + good[place + cut :]
    if changed != good:
        with pytest.raises(LineageError):
            verify_receipt(changed, Verifier.parse(vectors["verifier_key"]))


def test_bounds(good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedError, match="at most 4,194,304 bytes"):
        Receipt.parse(bytes(receipt.MAX_RECEIPT_BYTES + 1))
    fewer = dataclasses.replace(receipt._FORM, max_entries=len(Receipt.parse(good).entries) - 1)
    monkeypatch.setattr(receipt, "_FORM", fewer)
    with pytest.raises(MalformedError, match="one too many"):
        Receipt.parse(good)


def test_compromised_key_is_told(tmp_path: Path) -> None:
    it = demo(3)
    index = it.ledger.compromise(it.server)
    it.ledger.block()
    log = ServedLog(it.ledger, tmp_path)
    log.index()
    data = make_receipt(log.reader, log.indexer.lookup, it.predictions[1])
    signer = verify_receipt(data, it.ledger.verifier).signer_of(it.first_prediction + 1)
    assert (signer.name, signer.compromised_index) == ("server", index)
    log.close()


def test_batch_after_the_compromise_is_refused(tmp_path: Path) -> None:
    """A ledger that takes what it must not take: the receipt does not hide it."""
    ledger = SmallLedger()
    chain = ledger.register("server")
    ledger.compromise(chain)
    ids = ledger.predictions(chain, 2, b"\x01" * 32)
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    with pytest.raises(ReceiptError, match="compromised before"):
        verify_receipt(make_receipt(log.reader, log.indexer.lookup, ids[0]), ledger.verifier)
    log.close()


def test_attestation_of_another_origin_is_refused(tmp_path: Path) -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    deployment = statement.deployment(name="d", model=digest_text("m"))
    opinion = statement.attestation(
        subject=digest_text("m"),
        predicate_type="p",
        time_unix_ns=1,
        signer=seeded_key("reviewer"),
        origin="example.com/another",
    )
    ledger.batch(chain, [deployment, opinion])
    ids = ledger.predictions(chain, 1, statement.statement_hash(deployment))
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    with pytest.raises(SignatureError, match="attester"):
        verify_receipt(make_receipt(log.reader, log.indexer.lookup, ids[0]), ledger.verifier)
    log.close()


def test_making_waits_for_the_indexes_or_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage_ledger_server.services.receipt.INDEX_WAIT_S", 0.05)
    it = demo(3)
    log = ServedLog(it.ledger, tmp_path)
    with pytest.raises(RefusedError) as caught:
        make_receipt(log.reader, log.indexer.lookup, it.predictions[0])
    assert caught.value.reason == "INDEX_BEHIND"
    log.close()


def test_unknown_prediction(served: tuple[Demo, ServedLog]) -> None:
    _, log = served
    with pytest.raises(NotFoundError):
        make_receipt(log.reader, log.indexer.lookup, PredictionId(b"\1" * 16, 0, b"\0" * 4))


def test_lineage_too_large_for_a_receipt(tmp_path: Path) -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    deployment = statement.deployment(name="d", model=digest_text("m"))
    ledger.batch(chain, [deployment])
    parameters = {f"{n:04}": "x" * 4_096 for n in range(15)}
    inputs = [digest_text(str(n)) for n in range(60)]
    ledger.batch(chain, [statement.run(kind="training", name="r", inputs=inputs, outputs=[digest_text("m")])])
    for text in inputs:
        ledger.batch(
            chain,
            [statement.artifact(kind="dataset", digest=text, name="big", attributes=parameters) for _ in range(1)],
        )
    ids = ledger.predictions(chain, 1, statement.statement_hash(deployment))
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    with pytest.raises(LimitError, match="does not fit into a receipt"):
        make_receipt(log.reader, log.indexer.lookup, ids[0])
    log.close()


class TestTlogProof:
    def proof(self, index: int) -> TlogProof:
        ledger = demo(3).ledger
        hashes = merkle.inclusion_proof(index, ledger.size, ledger.hashes())
        return TlogProof(index, tuple(hashes), ledger.checkpoint())

    def test_round_trip_and_verify(self) -> None:
        ledger = demo(3).ledger
        for index in (0, 5, ledger.size - 1):
            proof = self.proof(index)
            assert TlogProof.parse(proof.encode()) == proof
            assert proof.verify(ledger.entries[index], ledger.verifier).size == ledger.size
            with pytest.raises(ProofError):
                proof.verify(ledger.entries[index] + b"\0", ledger.verifier)

    def test_text(self) -> None:
        lines = self.proof(5).encode().decode().split("\n")
        assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
        empty = lines.index("")
        assert lines[empty + 1] == ORIGIN
        assert all(len(line) == 44 for line in lines[2:empty])

    def test_extra_is_refused(self) -> None:
        encoded = self.proof(5).encode().replace(b"\nindex", b"\nextra AAAA\nindex", 1)
        with pytest.raises(MalformedError, match="which nothing proves"):
            TlogProof.parse(encoded)

    def test_every_changed_byte_is_refused(self) -> None:
        ledger = demo(3).ledger
        good = self.proof(5).encode()
        for place in range(len(good)):
            changed = bytearray(good)
            changed[place] ^= 1 << place % 8
            with pytest.raises(LineageError):
                TlogProof.parse(bytes(changed)).verify(ledger.entries[5], ledger.verifier)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"c2sp.org/tlog-proof@v1\n\n",
            b"c2sp.org/tlog-proof@v2\nindex 1\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex 01\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex -1\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex 1\nAA\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA\n\nx",
            b"c2sp.org/tlog-proof@v1\nextra AAAA\nextra AAAA\nindex 1\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex 1\r\n\nx",
            b"c2sp.org/tlog-proof@v1\nindex \xc2\xb2\n\nx",
            bytes(20_000),
        ],
    )
    def test_malformed(self, data: bytes) -> None:
        with pytest.raises(LineageError):
            TlogProof.parse(data).verify(b"", demo(1).ledger.verifier)
