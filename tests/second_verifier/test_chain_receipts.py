"""Chain receipts: the client's verifier and the second one say the same of good ones, forged ones and a server's."""

from __future__ import annotations

import random

import pytest

from lineage_ledger.chain_receipts import verify_chain_receipt
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.seal import next_number
from tests.second_verifier import notes
from tests.second_verifier.chain_receipt import Run, verify_chain
from tests.second_verifier.forged_chains import LEDGER, Forger
from tests.trace.small_ledger import ORIGIN

VERIFIER = Verifier(ORIGIN, LEDGER.public_key)
RECEIPTS = 250


def shown(data: bytes, verifier: Verifier) -> Run | str:
    """What the client's verifier shows, as the second one says it; or why it refuses."""
    try:
        verified = verify_chain_receipt(data, verifier)
    except LineageError as error:
        return str(error)
    first, last = verified.seals[0].seal.body, verified.seals[-1].seal.body
    return Run(
        verified.chain_id,
        first.batch_sequence,
        [each.index for each in verified.seals],
        first.first_number,
        next_number(last),
        verified.conflict_index or None,
        verified.successor.chain_id if verified.successor is not None else None,
    )


def second(data: bytes, verifier: Verifier) -> Run | str:
    try:
        return verify_chain(data, notes.parse_vkey(str(verifier)))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("first_seed", [0, 1_000, 2_000, 3_000])
def test_forged_chains(first_seed: int) -> None:
    right, refusals = 0, set[str]()
    for seed in range(first_seed, first_seed + RECEIPTS):
        forger = Forger(random.Random(seed))
        forger.grow(wrong=seed % 2 == 0)
        data = forger.forged()
        ours, theirs = shown(data, VERIFIER), second(data, VERIFIER)
        if isinstance(ours, str) or isinstance(theirs, str):
            assert isinstance(ours, str) and isinstance(theirs, str), (seed, ours, theirs)
            refusals.add(theirs)
        else:
            assert ours == theirs, seed
            right += 1
    assert RECEIPTS // 8 <= right <= RECEIPTS * 4 // 5
    assert len(refusals) >= 12, refusals
