"""What one party has seen: every later checkpoint is linked to the one before, or refused with the evidence."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import (
    ForkError,
    HistoryError,
    LineageError,
    MalformedError,
    OtherKeyError,
    OtherOriginError,
    RollbackError,
    SignatureError,
    StaleError,
    VerificationError,
)
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer, sign_note
from lineage_ledger.history import History, block_time
from lineage_ledger.v1 import entry_pb2
from tests.history.logs import NOW, ORIGIN, SIGNER, Log, block_at

LOG = Log()
FORK = Log("other ", forked_at=20)


@pytest.fixture
def history() -> History:
    return History(SIGNER.verifier)


def _accept(history: History, log: Log, size: int) -> None:
    known = history.newest
    history.accept(log.note(size), known, log.proof(known.size, size) if known and known.size < size else ())


@given(st.lists(st.integers(1, 130), min_size=1, max_size=12))
def test_the_newest_is_the_largest_of_one_history(sizes: list[int]) -> None:
    history = History(SIGNER.verifier)
    for size in sorted(sizes):
        _accept(history, LOG, size)
    assert history.newest == LOG.at(max(sizes))
    assert history.unlinked is None


@given(st.integers(21, 130), st.integers(21, 130))
def test_no_proof_joins_a_fork(known: int, size: int) -> None:
    history = History(SIGNER.verifier)
    history.accept(LOG.note(known), None, ())
    for log in (LOG, FORK):
        with pytest.raises(HistoryError) as caught:
            history.accept(FORK.note(size), history.newest, log.proof(known, size) if known <= size else ())
        assert caught.value.evidence == (LOG.note(known), FORK.note(size))
        assert isinstance(caught.value, RollbackError if size < known else ForkError)
    assert history.newest == LOG.at(known)


def test_a_fork_keeps_the_proof_that_failed(history: History) -> None:
    _accept(history, LOG, 30)
    proof = tuple(FORK.proof(30, 77))
    with pytest.raises(ForkError, match="does not go on") as caught:
        history.accept(FORK.note(77), history.newest, proof)
    assert caught.value.proof == proof
    assert isinstance(caught.value, VerificationError)


@pytest.mark.parametrize("change", [lambda proof: [], lambda proof: proof[1:], lambda proof: [*proof, bytes(32)]])
def test_a_proof_of_another_length_is_no_proof(change: object, history: History) -> None:
    _accept(history, LOG, 30)
    with pytest.raises(ForkError):
        history.accept(LOG.note(77), history.newest, change(list(LOG.proof(30, 77))))  # type: ignore[operator]  # a lambda
    assert history.newest == LOG.at(30)


def test_a_smaller_answer_is_right_if_the_larger_was_not_known_when_it_was_asked(history: History) -> None:
    _accept(history, LOG, 30)
    asked = history.newest
    _accept(history, LOG, 99)
    history.accept(LOG.note(64), asked, LOG.proof(30, 64))
    assert history.newest == LOG.at(99)
    pair = history.unlinked
    assert pair == (LOG.at(64), LOG.at(99))
    history.link(pair, LOG.proof(64, 99))
    assert history.unlinked is None
    with pytest.raises(RollbackError, match="old copy"):
        history.accept(LOG.note(64), history.newest, ())


@pytest.mark.parametrize("size", [64, 99, 120])
def test_two_answers_to_one_question_must_be_joined_too(size: int, history: History) -> None:
    """Each goes on from what was known, on a branch of its own."""
    _accept(history, LOG, 20)
    asked = history.newest
    _accept(history, LOG, 99)
    history.accept(FORK.note(size), asked, FORK.proof(20, size)) if size != 99 else None
    if size == 99:
        with pytest.raises(ForkError, match="same size"):
            history.accept(FORK.note(size), asked, FORK.proof(20, size))
        return
    assert history.newest == LOG.at(99)
    pair = history.unlinked
    assert pair is not None
    for log in (LOG, FORK):
        with pytest.raises(ForkError):
            history.link(pair, log.proof(pair.older.size, pair.newer.size))
    assert history.unlinked == pair


def test_what_is_not_linked_never_becomes_the_newest(history: History) -> None:
    """A stream proves each answer from its own last one; a fork on it must not push the other branch out."""
    _accept(history, LOG, 20)
    known = history.newest
    _accept(history, LOG, 40)
    for old, size in ((20, 50), (50, 60), (60, 70)):
        known = history.accept(FORK.note(size), known, FORK.proof(old, size))
    assert history.newest == LOG.at(40)
    assert history.unlinked == (LOG.at(40), FORK.at(70))


def test_an_unlinked_answer_may_be_joined_by_others_meanwhile(history: History) -> None:
    _accept(history, LOG, 20)
    asked = history.newest
    _accept(history, LOG, 40)
    history.accept(LOG.note(60), asked, LOG.proof(20, 60))
    pair = history.unlinked
    assert pair is not None
    _accept(history, LOG, 60)
    assert history.unlinked is None
    history.link(pair, LOG.proof(40, 60))
    assert history.newest == LOG.at(60)


def test_what_nobody_joins_is_bounded_and_the_first_of_it_kept(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage_ledger.history.MAX_UNLINKED", 3)
    _accept(history, LOG, 20)
    known = history.newest
    _accept(history, LOG, 100)
    for size in range(21, 40):
        history.accept(FORK.note(size), known, FORK.proof(20, size))
    assert len(history._unlinked) == 3
    assert history.unlinked == (FORK.at(21), LOG.at(100))


def test_the_first_answers_of_two_threads_are_joined(history: History) -> None:
    history.accept(LOG.note(40), None, ())
    history.accept(FORK.note(30), None, ())
    assert history.unlinked == (FORK.at(30), LOG.at(40))


def test_another_origin_is_named_whoever_signed_it(history: History) -> None:
    _accept(history, LOG, 30)
    elsewhere = Log(signer=Signer("elsewhere.example.com", SIGNER.key))
    with pytest.raises(OtherOriginError, match=r"elsewhere\.example\.com") as caught:
        history.accept(elsewhere.note(40), history.newest, LOG.proof(30, 40))
    assert caught.value.evidence == (LOG.note(30), elsewhere.note(40))
    # The pinned key's own name under another origin's text.
    with pytest.raises(OtherOriginError):
        history.open(sign_note(elsewhere.at(40).checkpoint.encode(), SIGNER))


def test_nothing_unsigned_is_evidence(history: History) -> None:
    with pytest.raises(OtherKeyError):
        history.open(Log(signer=Signer(ORIGIN, SigningKey.generate())).note(30))
    changed = bytearray(LOG.note(30))
    changed[-10] ^= 1
    for bad in (bytes(changed), LOG.note(30)[:-1], b"", b"\xff", LOG.note(30) + b"\n"):
        with pytest.raises((MalformedError, SignatureError)):
            history.accept(bad, None, ())
    assert history.newest is None


@pytest.mark.parametrize("age_s", [0, 1, 180, -180])
def test_a_young_block_is_no_stale_view(age_s: int, history: History) -> None:
    time_unix_ns = NOW - age_s * 10**9
    assert block_time(block_at(time_unix_ns)) == time_unix_ns
    history.check_age(LOG.at(30), time_unix_ns, NOW)


@pytest.mark.parametrize(
    ("age_s", "max_age_s", "said"),
    [(181, 180, "181 s ago"), (3, 2.5, "3 s ago"), (-181, 180, "ahead of this machine"), (10**9, 180, "UTC")],
)
def test_a_block_of_another_time_is_stale(age_s: int, max_age_s: float, said: str, history: History) -> None:
    with pytest.raises(StaleError, match=said) as caught:
        history.check_age(LOG.at(30), NOW - age_s * 10**9, NOW, max_age_s)
    assert caught.value.evidence == (LOG.note(30),)


def test_a_time_that_no_calendar_has_is_stale(history: History) -> None:
    with pytest.raises(StaleError):
        history.check_age(LOG.at(30), 2**64 - 1, NOW)


def test_what_is_no_block_has_no_time() -> None:
    artifact = entry_pb2.Artifact(
        kind=entry_pb2.ARTIFACT_KIND_MODEL,
        digest=entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32)),
    )
    for entry in (entry_pb2.Entry(artifact=artifact).SerializeToString(), b"", b"\xff"):
        with pytest.raises(LineageError):
            block_time(entry)


def test_threads_that_ask_at_once_agree(history: History) -> None:
    """Each proves its own answer and joins what others left unlinked, as the client does."""
    sizes = list(range(1, 121))
    failures: list[Exception] = []

    def ask(mine: list[int]) -> None:
        try:
            for size in mine:
                known = history.newest
                told = max(size, known.size if known else 0)
                history.accept(
                    LOG.note(told), known, LOG.proof(known.size, told) if known and told > known.size else ()
                )
                while (pair := history.unlinked) is not None:
                    history.link(pair, LOG.proof(pair.older.size, pair.newer.size))
        except Exception as error:  # noqa: BLE001  (a thread's error is told by the test)
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(sizes[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not failures
    assert history.newest == LOG.at(120)
    assert history.unlinked is None
