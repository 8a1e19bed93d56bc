"""Chains that one receipt does not hold: many small seals, and seals as large as they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage_ledger.chain_receipts import ChainTally, verify_chain_receipt
from lineage_ledger.completeness import ChainTotals, Window
from lineage_ledger.formats.chain_receipt import MAX_SEALS
from lineage_ledger.formats.receipt_text import MAX_RECEIPT_BYTES
from lineage_ledger.v1 import proofs_pb2
from lineage_ledger_server.errors import NotFoundError
from lineage_ledger_server.services.chains import Chains
from tests.index.served_log import ServedLog
from tests.trace.small_ledger import Chain, SmallLedger


def receipts(ledger: SmallLedger, chain: Chain, folder: Path) -> tuple[list[int], list[int], ChainTotals]:
    """Seals and bytes of each receipt, one after the other to the chain's end, and their sums."""
    seals, sizes, tally = list[int](), list[int](), ChainTally(Window())
    log = ServedLog(ledger, folder)
    log.index()
    chains = Chains(log.reader, log.indexer.lookup)

    def receipt(first: int) -> bytes:
        wanted = proofs_pb2.ChainRange(chain_id=chain.chain_id, first_sequence=first)
        return chains.receipt(wanted, log.reader.head(), lambda: None)

    while sum(seals) < chain.sequence:
        data = receipt(sum(seals))
        run = verify_chain_receipt(data, ledger.verifier)
        totals = tally.add(run)
        seals.append(len(run.seals))
        sizes.append(len(data))
    with pytest.raises(NotFoundError):
        receipt(sum(seals))
    log.close()
    return seals, sizes, totals


def test_more_heartbeats_than_a_receipt_holds(tmp_path: Path) -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    for _ in range(MAX_SEALS + 5):
        ledger.batch(chain, [])
    ledger.block()
    seals, _, totals = receipts(ledger, chain, tmp_path)
    assert seals == [MAX_SEALS, 6]
    assert (totals.first_sequence, totals.last_sequence, totals.next_number) == (0, MAX_SEALS + 5, 0)


def test_seals_with_all_bindings(tmp_path: Path) -> None:
    """Each has about 9,500 bytes, so that some 300 fill a receipt."""
    ledger = SmallLedger()
    chain = ledger.register("server")
    deployments = [bytes((row, *range(1, 32))) for row in range(255)]
    for _ in range(360):
        ledger.batch(chain, [], deployments, [(chain.number, 1)])
    ledger.block()
    seals, sizes, totals = receipts(ledger, chain, tmp_path)
    assert len(seals) == 2
    assert MAX_RECEIPT_BYTES // 2 < sizes[0] <= MAX_RECEIPT_BYTES
    assert (totals.next_number, totals.lost.at_least) == (360, 360)
