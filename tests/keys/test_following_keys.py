"""From any pinned key of a ledger to all the others: what is followed, and everything that is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import (
    InvalidKeyError,
    LineageError,
    MalformedError,
    OtherKeyError,
    ProofError,
    RollbackError,
    SignatureError,
    VerificationError,
)
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.ledger_keys import (
    MAX_CHANGES,
    KeyHistoryError,
    LedgerKeys,
    UnknownPinError,
    follow,
    follow_proven,
)
from lineage_ledger.operations import Operations
from lineage_ledger.v1 import entry_pb2, proofs_pb2
from tests.keys.key_histories import (
    ADMIN,
    K0,
    K1,
    K2,
    ORIGIN,
    OTHER_ORIGIN,
    SmallTree,
    change,
    edited,
    genesis,
    seeded,
    verifier,
)

FIRST, SECOND = change(K0, K1), change(K1, K2)
STRANGER = seeded("stranger")


@pytest.mark.parametrize("pinned", [K0, K1, K2])
def test_whichever_key_is_pinned_all_are_found(pinned):
    keys = follow(verifier(pinned), genesis(), [(5, FIRST), (9, SECOND)])
    assert keys.changes == ((0, verifier(K0)), (5, verifier(K1)), (9, verifier(K2)))
    assert (keys.name, keys.newest) == (ORIGIN, verifier(K2))


def test_a_key_is_in_force_for_trees_that_hold_its_entry():
    keys = follow(verifier(K0), genesis(), [(5, FIRST), (9, SECOND)])
    in_force = [keys.verifier_at(size) for size in range(12)]
    assert in_force == [verifier(K0)] * 6 + [verifier(K1)] * 4 + [verifier(K2)] * 2


def test_a_ledger_whose_key_was_never_changed():
    assert follow(verifier(K0), genesis(), []).newest == verifier(K0)


@given(st.lists(st.integers(1, 30), min_size=0, max_size=6))
def test_any_number_of_changes(gaps):
    keys = [seeded(f"any {number}") for number in range(len(gaps) + 1)]
    index, changes = 0, []
    for place, gap in enumerate(gaps):
        index += gap
        changes.append((index, change(keys[place], keys[place + 1])))
    for pinned in (keys[0], keys[-1]):
        found = follow(verifier(pinned), genesis(keys[0]), changes)
        assert [at for at, _ in found.changes] == [0, *(at for at, _ in changes)]
        assert found.verifier_at(index) != found.newest or not changes
        assert found.verifier_at(index + 1) == found.newest == verifier(keys[-1])


REFUSED: dict[str, tuple[Callable[[], LedgerKeys], type[LineageError], str]] = {
    "pinned key of another origin": (
        lambda: follow(verifier(K0, OTHER_ORIGIN), genesis(), []),
        UnknownPinError,
        "genesis is of",
    ),
    "genesis of another origin": (
        lambda: follow(verifier(K0), genesis(origin=OTHER_ORIGIN), [(5, FIRST)]),
        UnknownPinError,
        "genesis is of",
    ),
    "pinned key never in force": (
        lambda: follow(verifier(STRANGER), genesis(), [(5, FIRST)]),
        UnknownPinError,
        "none of the keys",
    ),
    "pinned key in force only later": (
        lambda: follow(verifier(K2), genesis(), [(5, FIRST)]),
        UnknownPinError,
        "none of the keys",
    ),
    "signed for another origin": (
        lambda: follow(verifier(K0), genesis(), [(5, change(K0, K1, origin=OTHER_ORIGIN))]),
        SignatureError,
        "old key",
    ),
    "old signature wrong": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, old_signature=bytes(64)))]),
        SignatureError,
        "old key",
    ),
    "new signature wrong": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, new_signature=bytes(64)))]),
        SignatureError,
        "new key",
    ),
    "admin signature wrong": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, admin_signature=bytes(64)))]),
        SignatureError,
        "admin's signature",
    ),
    "old signature missing": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, old_signature=b""))]),
        MalformedError,
        "index 5 is malformed",
    ),
    "new signature missing": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, new_signature=b""))]),
        MalformedError,
        "index 5 is malformed",
    ),
    "admin signature missing": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, admin_signature=b""))]),
        MalformedError,
        "index 5 is malformed",
    ),
    "signatures of two keys swapped": (
        lambda: follow(verifier(K0), genesis(), [(5, _swapped(FIRST))]),
        SignatureError,
        "old key",
    ),
    "admin is the ledger's key": (
        lambda: follow(verifier(K0), genesis(), [(5, change(K0, K1, admin_key=K0))]),
        SignatureError,
        "not an admin key",
    ),
    "unknown admin": (
        lambda: follow(verifier(K0), genesis(), [(5, change(K0, K1, admin_key=STRANGER))]),
        SignatureError,
        "not an admin key",
    ),
    "another body than was signed": (
        lambda: follow(verifier(K0), genesis(), [(5, edited(FIRST, body=_body(change(K0, K2))))]),
        SignatureError,
        "old key",
    ),
    "old key not in force": (
        lambda: follow(verifier(K0), genesis(), [(5, FIRST), (9, change(K0, K2))]),
        KeyHistoryError,
        "in force is",
    ),
    "a change left out": (lambda: follow(verifier(K0), genesis(), [(9, SECOND)]), KeyHistoryError, "in force is"),
    "a key a second time": (
        lambda: follow(verifier(K0), genesis(), [(5, FIRST), (9, change(K1, K0))]),
        KeyHistoryError,
        "second time",
    ),
    "a key that replaces itself": (
        lambda: follow(verifier(K0), genesis(), [(5, change(K0, K0))]),
        KeyHistoryError,
        "second time",
    ),
    "order": (
        lambda: follow(verifier(K0), genesis(), [(9, FIRST), (5, SECOND)]),
        KeyHistoryError,
        "given after one at 9",
    ),
    "one index twice": (
        lambda: follow(verifier(K0), genesis(), [(5, FIRST), (5, SECOND)]),
        KeyHistoryError,
        "given after one at 5",
    ),
    "the genesis' index": (
        lambda: follow(verifier(K0), genesis(), [(0, FIRST)]),
        KeyHistoryError,
        "given after one at 0",
    ),
    "another entry as a change": (
        lambda: follow(verifier(K0), genesis(), [(5, genesis())]),
        KeyHistoryError,
        "must be a ledger_key",
    ),
    "another entry as genesis": (
        lambda: follow(verifier(K0), FIRST, []),
        KeyHistoryError,
        "must be a genesis",
    ),
    "no genesis": (lambda: follow(verifier(K0), b"", [(5, FIRST)]), MalformedError, "index 0 is malformed"),
    "a change with a byte behind it": (
        lambda: follow(verifier(K0), genesis(), [(5, FIRST + b"\0")]),
        MalformedError,
        "index 5 is malformed",
    ),
    "a new key of small order": (
        lambda: follow(verifier(K0), genesis(), [(5, _to_small_order())]),
        InvalidKeyError,
        "small order",
    ),
    "too many": (
        lambda: follow(verifier(K0), genesis(), [(n + 1, FIRST) for n in range(MAX_CHANGES + 1)]),
        KeyHistoryError,
        "at most 1,000",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_followed(case):
    run, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        run()


def _body(entry: bytes) -> bytes:
    return entry_pb2.Entry.FromString(entry).ledger_key.body


def _swapped(entry: bytes) -> bytes:
    signed = entry_pb2.Entry.FromString(entry).ledger_key
    return edited(entry, old_signature=signed.new_signature, new_signature=signed.old_signature)


def _to_small_order() -> bytes:
    """The neutral element as new key; anybody can make its signature."""
    neutral = (1).to_bytes(32, "little")
    body = entry_pb2.LedgerKeyChange(old_public_key=K0.public_key, new_public_key=neutral, time_unix_ns=1)
    return edited(FIRST, body=body.SerializeToString(), new_signature=neutral + bytes(32))


@given(st.data())
def test_no_bit_of_a_change_can_be_flipped(data):
    place = data.draw(st.integers(0, 8 * len(FIRST) - 1))
    flipped = bytearray(FIRST)
    flipped[place // 8] ^= 1 << place % 8
    with pytest.raises(LineageError):
        follow(verifier(K0), genesis(), [(5, bytes(flipped))])


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree() -> SmallTree:
    """Changes at the indexes 5 and 9, 12 entries."""
    tree = SmallTree()
    tree.fill(4)
    tree.add(FIRST)
    tree.fill(3)
    tree.add(SECOND)
    tree.fill(2)
    return tree


@pytest.mark.parametrize("signer", [K0, K1, K2])
def test_only_the_key_in_force_at_its_size_signs_a_checkpoint(tree, signer):
    keys = follow(verifier(K0), genesis(), [(5, FIRST), (9, SECOND)])
    for size in range(1, 13):
        note = tree.signed(signer, size)
        if keys.verifier_at(size) == verifier(signer):
            assert keys.open(note) == Checkpoint.open(note, keys) == Checkpoint.open(note, verifier(signer))
            assert keys.open(note).size == size
        else:
            with pytest.raises(OtherKeyError, match=f"over {size} entries") as refused:
                keys.open(note)
            assert refused.value.size == size


def test_a_stranger_with_the_ledgers_name_is_refused(tree):
    keys = follow(verifier(K0), genesis(), [(5, FIRST), (9, SECOND)])
    with pytest.raises(OtherKeyError):
        keys.open(tree.signed(STRANGER))


def test_history_with_its_proof(tree):
    for pinned in (K0, K1, K2):
        keys, checkpoint = follow_proven(verifier(pinned), tree.history([5, 9]), tree.signed(K2))
        assert (keys.newest, checkpoint.size) == (verifier(K2), 12)


def test_a_change_that_is_not_in_the_tree(tree):
    history = tree.history([5, 9])
    history.changes[1].index = 8
    with pytest.raises((ProofError, VerificationError)):
        follow_proven(verifier(K0), history, tree.signed(K2))


def test_a_change_that_an_admin_signed_and_the_ledger_never_logged(tree):
    other = SmallTree()
    other.fill(4)
    other.add(change(K0, STRANGER))
    other.fill(7)
    with pytest.raises(ProofError, match="not in the tree"):
        follow_proven(verifier(K0), other.history([5]), tree.signed(STRANGER))


def test_a_change_beyond_the_checkpoint(tree):
    with pytest.raises(ProofError, match="beyond the checkpoint"):
        follow_proven(verifier(K0), tree.history([5, 9]), tree.signed(K1, 9))


def test_a_checkpoint_by_the_key_before(tree):
    with pytest.raises(OtherKeyError):
        follow_proven(verifier(K0), tree.history([5, 9]), tree.signed(K1))


def test_a_proof_that_is_cut_or_longer(tree):
    for proof in (list(tree.history([5, 9]).proof)[:-1], [*tree.history([5, 9]).proof, bytes(32)], [b"short"]):
        history = tree.history([5, 9])
        del history.proof[:]
        history.proof.extend(proof)
        with pytest.raises(ProofError):
            follow_proven(verifier(K0), history, tree.signed(K2))


def test_what_was_followed_goes_on_or_does_not():
    before = follow(verifier(K0), genesis(), [(5, FIRST)])
    after = follow(verifier(K0), genesis(), [(5, FIRST), (9, SECOND)])
    moved = follow(verifier(K0), genesis(), [(6, FIRST), (9, SECOND)])
    assert after.extends(before) and after.extends(after)
    assert not before.extends(after)
    assert not moved.extends(before)


def test_admin_of_the_genesis_alone():
    keys = follow(verifier(K0), genesis(admin_key=STRANGER), [(5, change(K0, K1, admin_key=STRANGER))])
    assert keys.newest == verifier(K1)
    with pytest.raises(SignatureError, match="not an admin key"):
        follow(verifier(K0), genesis(admin_key=STRANGER), [(5, change(K0, K1, admin_key=ADMIN))])


def test_a_thief_of_an_older_key_shows_a_client_nothing_from_before_the_key_that_it_pinned() -> None:
    """However truly it says how the key was changed: whoever pinned the newer key knows of a larger tree."""
    tree = SmallTree()
    tree.fill(9)
    index = tree.add(change(K0, K1))
    tree.fill(5)
    forged = SmallTree([genesis(), b"another past"])
    forged.fill(5)
    steps = Operations(verifier(K1)).checkpoint()
    next(steps)
    steps.send(proofs_pb2.GetCheckpointResponse(checkpoint=forged.signed(K0)))
    true = proofs_pb2.GetCheckpointResponse(checkpoint=tree.signed(K1), key_history=tree.history([index]))
    with pytest.raises(RollbackError, match="before the key that was pinned"):
        steps.send(true)
