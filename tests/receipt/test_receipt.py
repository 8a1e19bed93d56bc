"""Lineage receipts: they verify offline, every changed byte is refused, and nothing can be taken out or put in."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import pytest

from lineage_ledger.errors import LineageError, MalformedError, ProofError, SignatureError
from lineage_ledger.formats import merkle, receipt, statement
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.receipts import ReceiptError, verify_receipt
from lineage_ledger_server.errors import LimitError, NotFoundError, RefusedError
from lineage_ledger_server.services.receipt import make_receipt
from tests.index.served_log import ServedLog
from tests.trace.graphs import Demo, demo
from tests.trace.small_ledger import ORIGIN, Leaves, SmallLedger, digest_text, seeded_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Of the ledger that graphs.demo() makes; a receipt is kept for years, so its bytes must never change.
GOLDEN_SHA256 = "2246d6512264c3053d6c7c70a005c7603561c323a1ee90d86301bcdcb804f182"


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


def test_golden(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    it, log = served
    assert hashlib.sha256(good).hexdigest() == GOLDEN_SHA256
    assert make_receipt(log.reader, log.indexer.lookup, it.predictions[7]) == good
    assert len(good) < 12_000


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


def rebuilt(it: Demo, parsed: Receipt, indexes: set[int], **changes: object) -> bytes:
    """A receipt over other entries of the same ledger, with proofs that are right for them."""
    ledger = it.ledger
    leaves = ledger.hashes()
    seals = {item.seal_index: item.seal for item in ledger.sealed.values() if item.seal_index in indexes}
    batches = {}
    for seal_index, parsed_seal in sorted(seals.items()):
        first = seal_index - parsed_seal.body.count
        places = [index - first for index in sorted(indexes) if first <= index < seal_index]
        proof = (
            merkle.multiproof(places, parsed_seal.body.count, Leaves(leaves.leaves[first:seal_index])) if places else []
        )
        batches[seal_index] = tuple(proof)
    tree = tuple(merkle.multiproof(sorted(indexes), ledger.size, leaves))
    entries = {index: ledger.entries[index] for index in sorted(indexes)}
    return dataclasses.replace(parsed, entries=entries, batches=batches, tree=tree, **changes).encode()  # type: ignore[arg-type]  # by name


def without(name: str) -> Callable[[Demo, Receipt], bytes]:
    def strip(it: Demo, parsed: Receipt) -> bytes:
        sealed = it.ledger.sealed
        prediction = next(index for index in parsed.entries if index in sealed and index >= it.first_prediction)
        victim = {
            "genesis": {0},
            "block": {index for index, entry in parsed.entries.items() if entry[0] >> 3 == 9},
            "prediction": {prediction},
            "seal": {sealed[prediction].seal_index},
            "registration": {it.server.registered_index},
            "prediction and seal": {prediction, sealed[prediction].seal_index},
        }[name]
        return rebuilt(it, parsed, set(parsed.entries) - victim)

    return strip


def plus(*names: str) -> Callable[[Demo, Receipt], bytes]:
    """With more entries than belong there."""

    def add(it: Demo, parsed: Receipt) -> bytes:
        extra = {
            "another prediction": it.first_prediction + 8,
            "unrelated statement": it.statements["unrelated"],
            "another block": 1,
            "seal of an empty batch": it.server.first_seal_index,
            "later statement": it.trainer.last_seal_index - 1,
            "its seal": it.trainer.last_seal_index,
        }
        return rebuilt(it, parsed, set(parsed.entries) | {extra[name] for name in names})

    return add


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("genesis"), id="no genesis"),
        pytest.param(without("block"), id="no block"),
        pytest.param(without("prediction"), id="no prediction"),
        pytest.param(without("seal"), id="no seal"),
        pytest.param(without("registration"), id="no registration"),
        pytest.param(without("prediction and seal"), id="no prediction and no seal"),
        pytest.param(plus("another prediction"), id="two predictions"),
        pytest.param(plus("unrelated statement"), id="unrelated statement"),
        pytest.param(plus("another block"), id="two blocks"),
        pytest.param(plus("seal of an empty batch"), id="a seal of nothing here"),
        pytest.param(plus("later statement", "its seal"), id="a second statement of an artifact"),
        pytest.param(plus("later statement"), id="a statement without its seal"),
    ],
)
def test_parts_cannot_be_taken_out_or_put_in(
    change: Callable[[Demo, Receipt], bytes], good: bytes, served: tuple[Demo, ServedLog]
) -> None:
    """With a checkpoint and proofs that are right, so that only the receipt's own rules refuse it."""
    it, _ = served
    parsed = Receipt.parse(good)
    assert rebuilt(it, parsed, set(parsed.entries)) == good
    with pytest.raises(ReceiptError):
        verify_receipt(change(it, parsed), it.ledger.verifier)


def test_swapped_parts_are_refused(good: bytes, served: tuple[Demo, ServedLog]) -> None:
    it, log = served
    other = Receipt.parse(make_receipt(log.reader, log.indexer.lookup, it.predictions[8]))
    parsed = Receipt.parse(good)
    swaps: list[dict[str, object]] = [
        {"prediction_id": other.prediction_id},
        {"prediction_id": parsed.prediction_id._replace(number=9)},
        {"prediction_id": parsed.prediction_id._replace(input_prefix=b"\0\0\0\0")},
        {"prediction_id": parsed.prediction_id._replace(chain_id=b"\0" * 16)},
        {"entries": other.entries},
        {"batches": other.batches},
        {"tree": other.tree},
        {"tree": (*parsed.tree, bytes(32))},
        {"tree": parsed.tree[:-1]},
        {"batches": {**parsed.batches, 1: ()}},
        {"batches": dict(list(parsed.batches.items())[1:])},
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"receipt/v1\n", b"receipt/v2\n"),
        (b"receipt/v1\n", b"receipt/v1\r\n"),
        (b"\nentry 0 ", b"\nentry 00 "),
        (b"\nentry 0 ", b"\nentry  0 "),
        (b"\ntree ", b"\ntree  "),
        (b"\ntree ", b"\nextra AAAA\ntree "),
        (b"\n\n", b" \n\n"),
        (b"\nprediction ", b"\nentry 999999999 AAAA\nprediction "),
    ],
)
def test_one_encoding(old: bytes, new: bytes, good: bytes) -> None:
    assert Receipt.parse(good).encode() == good
    with pytest.raises(MalformedError):
        verify_receipt(good.replace(old, new, 1), demo(1).ledger.verifier)


def test_bounds(good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedError, match="at most 4,194,304 bytes"):
        Receipt.parse(bytes(receipt.MAX_RECEIPT_BYTES + 1))
    monkeypatch.setattr(receipt, "MAX_RECEIPT_ENTRIES", len(Receipt.parse(good).entries) - 1)
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

    def test_extra_is_read(self) -> None:
        proof = dataclasses.replace(self.proof(5), extra=b"anything")
        assert TlogProof.parse(proof.encode()) == proof

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
