"""What a server says of its ledger before anything is sent to it, and who is believed."""

from __future__ import annotations

import pytest

from lineage_ledger.emitter.acknowledgements import AcknowledgementChecker
from lineage_ledger.errors import OtherOriginError, RollbackError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.merkle import leaf_hash
from lineage_ledger.formats.note import Signer
from lineage_ledger.v1 import append_pb2, proofs_pb2
from tests.keys.key_histories import K0, K1, K2, ORIGIN, OTHER_ORIGIN, change, edited, genesis, verifier


def _said(
    newest: str, *changes: bytes, first: bytes | None = None, origin: str = ORIGIN
) -> append_pb2.GetLedgerResponse:
    return append_pb2.GetLedgerResponse(
        origin=origin,
        verifier_key=newest,
        key_history=proofs_pb2.KeyHistory(
            genesis=genesis() if first is None else first,
            changes=[proofs_pb2.KeyChange(index=10 * (at + 1), entry=entry) for at, entry in enumerate(changes)],
        ),
    )


V0, V1, V2 = (str(verifier(key)) for key in (K0, K1, K2))


def test_the_pinned_ledger_is_met_whatever_it_says_of_its_past() -> None:
    checker = AcknowledgementChecker(verifier(K0))
    checker.check_ledger(append_pb2.GetLedgerResponse(origin=ORIGIN, verifier_key=V0))
    checker.check_ledger(_said(V0))


def test_changes_are_followed_from_any_key_that_was_pinned() -> None:
    for pinned in (K0, K1, K2):
        checker = AcknowledgementChecker(verifier(pinned))
        checker.check_ledger(_said(V2, change(K0, K1), change(K1, K2)))
        for key, size in ((K0, 5), (K1, 15), (K2, 50)):
            tree = Checkpoint(ORIGIN, size, leaf_hash(b"%d" % size))
            checker.begin()
            assert checker.history.open(tree.sign(Signer(ORIGIN, key))).checkpoint == tree


@pytest.mark.parametrize(
    "said",
    [
        append_pb2.GetLedgerResponse(),
        append_pb2.GetLedgerResponse(origin=ORIGIN, verifier_key=V1),
        _said(V0, origin=OTHER_ORIGIN),
        _said(str(verifier(K0, OTHER_ORIGIN)), first=genesis(origin=OTHER_ORIGIN), origin=OTHER_ORIGIN),
        _said(V1, first=genesis(K1)),
        _said(V1),
        _said(V0, change(K0, K1)),
        _said(V2, change(K0, K1)),
        _said(V2, change(K1, K2)),
        _said(V1, edited(change(K0, K1), old_signature=bytes(64))),
        _said(V1, change(K0, K1, admin_key=K2)),
        _said(V1, change(K0, K1, origin=OTHER_ORIGIN)),
        _said(V1, b"\x7a\x00"),
        _said(V1, change(K0, K1), first=b""),
    ],
)
def test_another_ledger_is_not_met(said: append_pb2.GetLedgerResponse) -> None:
    with pytest.raises(OtherOriginError, match="was pinned") as told:
        AcknowledgementChecker(verifier(K0)).check_ledger(said)
    assert len(str(told.value)) < 2_000


@pytest.mark.parametrize("prove", [True, False])
def test_a_thief_of_an_older_key_is_not_met_by_who_pinned_a_newer_one(prove: bool) -> None:
    """It has the change, which is public, and says that it comes later than all that it signs."""
    checker = AcknowledgementChecker(verifier(K1), prove=prove)
    said = _said(V1, change(K0, K1))
    said.key_history.changes[0].index = 1 << 40
    checker.check_ledger(said)
    checker.begin()
    with pytest.raises(RollbackError, match="before the key that was pinned"):
        checker.check_checkpoint(Checkpoint(ORIGIN, 50, leaf_hash(b"fork")).sign(Signer(ORIGIN, K0)), ())


def test_a_past_that_changes_is_not_believed() -> None:
    checker = AcknowledgementChecker(verifier(K0))
    checker.check_ledger(_said(V1, change(K0, K1)))
    for other in (_said(V2, change(K0, K2)), _said(V0), append_pb2.GetLedgerResponse(origin=ORIGIN, verifier_key=V0)):
        with pytest.raises(OtherOriginError):
            checker.check_ledger(other)
    checker.check_ledger(_said(V2, change(K0, K1), change(K1, K2)))
