"""The witness: every code of the protocol, and never two cosignatures over trees that are not of one history."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats import keys
from lineage_ledger.formats.merkle import EMPTY_ROOT
from lineage_ledger.formats.note import Cosigner, Note, Signer, Verifier, cosignature_time, open_note, sign_note
from lineage_ledger.formats.text import encode_base64
from lineage_ledger.formats.witness_protocol import MAX_REQUEST_BYTES, SIZE_TYPE, AddCheckpoint, read_cosignature
from lineage_ledger_server.errors import CorruptValueError, LockedError
from lineage_ledger_server.store.witness_store import WitnessStore
from lineage_ledger_server.witness.folder import open_witness
from lineage_ledger_server.witness.witness import Answer, Witness
from tests.witness.running_witness import Log

LOG = Log()
FORK = Log(LOG.signer, salt=b"fork", fork_at=100)
COSIGNER = Cosigner("witness.example/w", keys.SigningKey.generate())


class Clock:
    now = 1_700_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WitnessStore]:
    opened = WitnessStore(tmp_path / "cosigned")
    yield opened
    opened.close()


@pytest.fixture
def witness(store: WitnessStore, clock: Clock) -> Witness:
    return Witness(COSIGNER, [LOG.signer.verifier], store, clock)


def ask(witness: Witness, old: int, new: int, log: Log = LOG) -> Answer:
    return witness.add_checkpoint(log.request(old, new).encode())


def cosigned(answer: Answer, size: int, log: Log = LOG) -> int:
    """When `answer` says that the tree of `size` was cosigned; it must."""
    assert answer.status == 200, answer
    return cosignature_time(read_cosignature(answer.body, log.checkpoint(size).encode(), COSIGNER.verifier))


def test_a_log_that_grows(witness: Witness, store: WitnessStore) -> None:
    assert cosigned(ask(witness, 0, 1), 1) == Clock.now
    for old, new in ((1, 2), (2, 2), (2, 7), (7, 256), (256, 300)):
        assert cosigned(ask(witness, old, new), new)
    newest = store.newest("example.com/log")
    assert newest is not None and newest.checkpoint == LOG.checkpoint(300)
    assert newest.note == LOG.note(300)


def test_an_empty_tree_may_come_first(witness: Witness) -> None:
    assert cosigned(ask(witness, 0, 0), 0)
    assert cosigned(ask(witness, 0, 0), 0)
    assert cosigned(ask(witness, 0, 5), 5)
    assert ask(witness, 0, 0).status == 409


def test_409_says_where_the_witness_stands(witness: Witness) -> None:
    assert ask(witness, 3, 5) == (409, b"0\n", SIZE_TYPE)
    cosigned(ask(witness, 0, 10), 10)
    for old, new in ((0, 20), (9, 20), (11, 20), (0, 10), (5, 8)):
        assert ask(witness, old, new) == (409, b"10\n", SIZE_TYPE)
    # A witness is asked where it stands by an old size of 0.
    assert cosigned(ask(witness, 10, 20), 20)


def test_422_for_what_is_no_continuation(witness: Witness, store: WitnessStore) -> None:
    note, proof = LOG.note(200), LOG.proof(150, 200)
    assert witness.add_checkpoint(AddCheckpoint(0, proof, note).encode()).status == 422  # nothing to prove yet
    cosigned(ask(witness, 0, 150), 150)
    before = store.newest("example.com/log")
    wrong = [(), proof[:-1], (*proof, bytes(32)), (bytes(32), *proof[1:]), proof[::-1]]
    for other in wrong:
        assert witness.add_checkpoint(AddCheckpoint(150, other, note).encode()).status == 422
    assert ask(witness, 150, 200, FORK).status == 422
    assert witness.add_checkpoint(AddCheckpoint(150, proof, FORK.note(200)).encode()).status == 422
    assert ask(witness, 150, 150, FORK).status == 422  # the same size, another root
    assert witness.add_checkpoint(AddCheckpoint(150, (bytes(32),), LOG.note(150)).encode()).status == 422
    assert store.newest("example.com/log") == before
    assert cosigned(ask(witness, 150, 200), 200)


def test_422_for_an_empty_tree_with_a_root(witness: Witness) -> None:
    def signed(root: bytes | str) -> bytes:
        encoded = root if isinstance(root, str) else encode_base64(root)
        note = sign_note(f"example.com/log\n0\n{encoded}\n", LOG.signer)
        return AddCheckpoint(0, (), note).encode()

    assert witness.add_checkpoint(signed(bytes(32))).status == 422
    assert witness.add_checkpoint(signed(bytes(31))).status == 400
    assert witness.add_checkpoint(signed("?")).status == 400
    assert witness.add_checkpoint(signed(EMPTY_ROOT)).status == 200


def test_404_for_another_log(witness: Witness) -> None:
    other = Log(Signer("example.com/other", LOG.signer.key))
    assert ask(witness, 0, 5, other).status == 404


def test_403_for_another_key(witness: Witness) -> None:
    thief = Log(Signer("example.com/log", keys.SigningKey.generate()))
    assert ask(witness, 0, 5, thief).status == 403
    text = LOG.checkpoint(5).encode()
    forged = LOG.signer.sign(LOG.checkpoint(6).encode())
    for signatures in ((forged,), (LOG.signer.sign(text), forged)):  # the second one is not reached by a lenient check
        note = Note(text, signatures).encode()
        assert witness.add_checkpoint(AddCheckpoint(0, (), note).encode()).status == 403
    stranger = thief.signer.sign(text)
    note = Note(text, (stranger, LOG.signer.sign(text))).encode()  # an unknown key is passed over
    assert witness.add_checkpoint(AddCheckpoint(0, (), note).encode()).status == 200


def test_403_comes_before_the_log_s_state_is_told(witness: Witness) -> None:
    cosigned(ask(witness, 0, 5), 5)
    assert ask(witness, 0, 6, Log(Signer("example.com/log", keys.SigningKey.generate()))).status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n\n",
        b"old 0\n\nnot a note\n",
        b"old 0\n" + LOG.note(5),
        b"old 6\n\n" + LOG.note(5),
        b"old 00\n\n" + LOG.note(5),
        b"old 0\n\n" + LOG.note(5)[:-1],
        b"old 0\n\n" + LOG.note(5) + b"\n",
        b"old 0\n\n" + sign_note(LOG.checkpoint(5).encode() + "extension\n", LOG.signer),
        b"old 0\n\n" + sign_note("example.com/log\n5\n", LOG.signer),
        b"old 0\n\n" + sign_note("example.com/log\n05\n" + encode_base64(bytes(32)) + "\n", LOG.signer),
        b"old 0\n\n" + sign_note("example.com/log\n5\n" + encode_base64(bytes(31)) + "\n", LOG.signer),
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_400_for_what_is_malformed(witness: Witness, store: WitnessStore, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400
    assert store.newest("example.com/log") is None


def test_keys_of_logs() -> None:
    with pytest.raises(SettingsError, match="one log"):
        Witness(COSIGNER, [], None)  # type: ignore[arg-type]  # not reached
    with pytest.raises(SettingsError, match="type 1"):
        Witness(COSIGNER, [COSIGNER.verifier], None)  # type: ignore[arg-type]  # not reached


def test_a_log_with_two_keys_and_two_logs(store: WitnessStore) -> None:
    second = Log(Signer("example.com/log", keys.SigningKey.generate()))
    other = Log(Signer("example.com/other", keys.SigningKey.generate()))
    known: list[Verifier] = [one.signer.verifier for one in (LOG, second, other)]
    both = Witness(COSIGNER, known, store)
    assert both.origins == ("example.com/log", "example.com/other")
    assert ask(both, 0, 5).status == 200
    assert ask(both, 5, 9, second).status == 200  # the same leaves under the new key
    assert ask(both, 0, 3, other).status == 200


def test_time_never_goes_back(witness: Witness, clock: Clock, store: WitnessStore) -> None:
    assert cosigned(ask(witness, 0, 5), 5) == clock.now
    clock.now -= 1_000
    assert cosigned(ask(witness, 5, 6), 6) == clock.now + 1_000
    clock.now += 2_000
    assert cosigned(ask(witness, 6, 6), 6) == clock.now
    clock.now = 0
    assert cosigned(ask(witness, 6, 7), 7) > 0
    assert cosigned(
        Witness(COSIGNER, [LOG.signer.verifier], store, clock).add_checkpoint(b"old 7\n\n" + LOG.note(7)), 7
    )


def test_a_damaged_record_is_not_gone_on_from(store: WitnessStore, witness: Witness) -> None:
    cosigned(ask(witness, 0, 5), 5)
    environment = store._environment
    with environment.write() as txn:
        table = environment.table("logs")
        row = bytearray(txn.get(b"example.com/log", db=table) or b"")
        row[-2] ^= 1
        txn.put(b"example.com/log", bytes(row), db=table)
    with pytest.raises(CorruptValueError, match="damaged"):
        ask(witness, 5, 6)


def test_one_process_at_a_time_and_the_record_stays(tmp_path: Path) -> None:
    with open_witness(tmp_path / "w", COSIGNER, [LOG.signer.verifier]) as first:
        cosigned(ask(first, 0, 5), 5)
        with pytest.raises(LockedError), open_witness(tmp_path / "w", COSIGNER, [LOG.signer.verifier]):
            pass
    with open_witness(tmp_path / "w", COSIGNER, [LOG.signer.verifier]) as second:
        assert ask(second, 0, 5).body == b"5\n"
        assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700


def race(*requests: Callable[[], Answer]) -> list[Answer]:
    """All at once."""
    barrier = threading.Barrier(len(requests))

    def run(request: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests))


def test_racing_forks_get_one_cosignature(tmp_path: Path) -> None:
    """The race that the specification describes, and its worse sister: two histories at once."""
    for number in range(12):
        store = WitnessStore(tmp_path / f"cosigned{number}")
        witness = Witness(COSIGNER, [LOG.signer.verifier], store)
        cosigned(ask(witness, 0, 90), 90)
        requests = [partial(ask, witness, 90, size, log) for log in (LOG, FORK) for size in (120, 150, 200)]
        answers = race(*requests)
        assert sorted(answer.status for answer in answers) == [200] + [409] * 5
        store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20), st.integers(-5, 5)), min_size=1, max_size=30
    )
)
def test_whatever_is_asked_cosignatures_are_of_one_history(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[bool, int, int, int]]
) -> None:
    log, fork = Log(LOG.signer, size=21), Log(LOG.signer, salt=b"f", fork_at=4, size=21)
    clock = Clock()
    store = WitnessStore(tmp_path_factory.mktemp("w") / "cosigned")
    witness = Witness(COSIGNER, [LOG.signer.verifier], store, clock)
    history: list[tuple[int, bytes, int]] = []
    for is_fork, old, new, seconds in asked:
        clock.now += seconds
        chosen = fork if is_fork else log
        proof = chosen.proof(old, new) if old <= new else ()
        answer = witness.add_checkpoint(AddCheckpoint(old, proof, chosen.note(new)).encode())
        if answer.status == 200:
            time_unix_s = cosigned(answer, new, chosen)
            history.append((new, chosen.checkpoint(new).root, time_unix_s))
    store.close()
    assert [size for size, *_ in history] == sorted(size for size, *_ in history)
    assert [time for *_, time in history] == sorted(time for *_, time in history)
    assert any(all(one.checkpoint(size).root == root for size, root, _ in history) for one in (log, fork))


def test_what_it_sends_is_a_note_with_the_checkpoint(witness: Witness) -> None:
    """As the specification has clients read it: behind the checkpoint, then opened as a note."""
    answer = ask(witness, 0, 5)
    opened = open_note(LOG.note(5) + answer.body, [LOG.signer.verifier, COSIGNER.verifier])
    assert [one.name for one in opened.signatures] == ["example.com/log", "witness.example/w"]


def origin_hash(log: Log) -> str:
    return hashlib.sha256(log.signer.name.encode()).hexdigest()


def test_anyone_is_shown_what_was_cosigned_last(witness: Witness, store: WitnessStore, clock: Clock) -> None:
    assert witness.newest_checkpoint(origin_hash(LOG)).status == 404
    ask(witness, 0, 5)
    request = LOG.request(5, 9)
    stranger = Signer("stranger.example", keys.SigningKey.generate())
    note = Note.parse(request.checkpoint)
    many = Note(note.text, (stranger.sign(note.text), *note.signatures)).encode()
    answer = witness.add_checkpoint(request._replace(checkpoint=many).encode())
    clock.now += 60
    shown = witness.newest_checkpoint(origin_hash(LOG))
    # The log's signature and the cosignature that it was given; nobody vouches for any other.
    assert (shown.status, shown.body) == (200, request.checkpoint + answer.body)
    assert ask(witness, 5, 12).status == 409
    assert witness.newest_checkpoint(origin_hash(LOG)) == shown
    for other in ("", "0" * 64, origin_hash(LOG).upper(), "../" + origin_hash(LOG)):
        assert witness.newest_checkpoint(other).status == 404
    successor = Signer(LOG.signer.name, keys.SigningKey.generate())
    assert Witness(COSIGNER, [successor.verifier], store).newest_checkpoint(origin_hash(LOG)).status == 404
