"""The client's verifier and the second one say the same of forged ledgers and receipts; differences are defects."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lineage_ledger.audit import audit
from lineage_ledger.errors import LineageError
from lineage_ledger.formats import admin, packed
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.receipts import verify_receipt
from tests.audit.ledger_builder import source_of
from tests.second_verifier import notes, receipt, verifier
from tests.second_verifier.differential import disturbed, ledger, signed
from tests.second_verifier.forged_receipts import Forger
from tests.trace.graphs import Demo, demo

VECTORS = Path(__file__).parent.parent / "vectors" / "receipts" / "lineage.json"
LEDGERS, RECEIPTS = 120, 200


@pytest.mark.parametrize("first_seed", [0, 1_000, 2_000, 3_000])
def test_forged_ledgers(first_seed: int) -> None:
    right = 0
    for seed in range(first_seed, first_seed + LEDGERS):
        choice = random.Random(seed)
        builder = ledger(choice)
        entries = disturbed(choice, builder.entries) if choice.random() < 0.5 else builder.entries
        checkpoint = signed(builder, entries)
        report = audit(source_of(entries, checkpoint), builder.verifier)
        found = verifier.audit([packed.pack(entries)], checkpoint, str(builder.verifier))
        assert not report.failures, seed
        assert bool(report.findings) == bool(found), (seed, report.findings, found)
        right += not found
    assert 1 <= right <= LEDGERS // 2


@pytest.fixture(scope="module")
def told() -> tuple[Demo, Receipt, Verifier]:
    vectors = json.loads(VECTORS.read_text())
    good = Receipt.parse(vectors["accepted"][0]["receipt"].encode())
    return demo(), good, Verifier.parse(vectors["verifier_key"])


@pytest.mark.parametrize("first_seed", [0, 1_000, 2_000, 3_000])
def test_forged_receipts(first_seed: int, told: tuple[Demo, Receipt, Verifier]) -> None:
    it, good, key = told
    second_key = notes.parse_vkey(str(key))
    right = 0
    for seed in range(first_seed, first_seed + RECEIPTS):
        data = Forger(it, good, random.Random(seed)).forged()
        refusals = []
        try:
            verify_receipt(data, key)
        except LineageError as error:
            refusals.append(str(error))
        try:
            receipt.verify_lineage(data, second_key)
        except ValueError as error:
            refusals.append(str(error))
        assert len(refusals) in (0, 2), (seed, refusals)
        right += not refusals
    assert 1 <= right <= RECEIPTS // 2


def test_a_key_is_retired_once(told: tuple[Demo, Receipt, Verifier]) -> None:
    """A second retirement, with a later last block, would bring the first one to nothing."""
    it, good, key = told
    forger = Forger(it, good, random.Random(0))
    blocks = [index for index in range(it.first_prediction) if forger.entries[index][0] >> 3 == 9]
    for index, last_block, refusal in zip(blocks[-2:], (1, 9), ("was retired as of block 1", "at index"), strict=True):
        forger.entries[index] = admin.build_retirement(
            it.ledger.signer.name,
            public_key=it.server.key.public_key,
            last_block=last_block,
            time_unix_ns=1,
            admin_key=it.ledger.admin_key,
        )
        forger.indexes.add(index)
        with pytest.raises(LineageError, match=refusal):
            verify_receipt(forger.receipt(), key)
        with pytest.raises(ValueError, match="retire"):
            receipt.verify_lineage(forger.receipt(), notes.parse_vkey(str(key)))
