"""Witnesses that lie, stall or stand elsewhere: none harms the ledger, and none is counted."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineage_ledger.emitter import sender
from lineage_ledger.errors import SettingsError
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Note, Signer, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.formats.witness_protocol import SIZE_TYPE, AddCheckpoint
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import CorruptValueError, HeadMismatchError, NotWitnessedError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.ledger import Ledger, open_ledger
from lineage_ledger_server.publication import Publication, Rule, read_rule, write_rule
from lineage_ledger_server.witnessing.settings import MAX_TIMEOUT_S, WitnessSettings
from tests.witness.running_witness import WitnessHere

ORIGIN = "example.com/log"
LIAR = Cosigner("liar.example", keys.SigningKey.generate())
Answer = tuple[int, str, bytes]


class Liar(http.server.ThreadingHTTPServer):
    """Answers whatever `lie` makes of a request; None: it never ends."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, lie: Callable[[AddCheckpoint], Answer | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lie = lie
        self.asked: list[AddCheckpoint] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Liar
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the library's name
        request = AddCheckpoint.parse(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(request)
        answer = self.server.lie(request)
        if answer is None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while not self.server.over.is_set():
                try:
                    self.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                except OSError:
                    return
            return
        status, content_type, body = answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        pass


def text_of(request: AddCheckpoint) -> str:
    return Note.parse(request.checkpoint).text


def line(cosigner: Cosigner | Signer, text: str) -> Answer:
    signature = cosigner.sign(text) if isinstance(cosigner, Signer) else cosigner.cosign(text, int(time.time()))
    return 200, "text/plain", signature.encode().encode()


def other_tree(request: AddCheckpoint) -> Answer:
    known = Checkpoint.parse(text_of(request))
    return line(LIAR, Checkpoint(known.origin, known.size, bytes(32)).encode())


def slow(_: AddCheckpoint) -> Answer:
    time.sleep(3)
    return 500, "text/plain", b""


LIES: dict[str, tuple[Callable[[AddCheckpoint], Answer | None], str]] = {
    "another key": (lambda it: line(Cosigner("liar.example", keys.SigningKey.generate()), text_of(it)), "no line of"),
    "another name": (lambda it: line(Cosigner("other.example", LIAR.key), text_of(it)), "no line of"),
    "another tree": (other_tree, "does not check"),
    "another type": (lambda it: line(Signer("liar.example", LIAR.key), text_of(it)), "no line of"),
    "garbage": (lambda _: (200, "text/plain", b"\xff\0garbage"), "not UTF-8"),
    "nothing": (lambda _: (200, "text/plain", b""), "signature lines"),
    "no end": (lambda _: None, "more than 16,384 bytes"),
    "slow": (slow, "no answer"),
    "broken": (lambda _: (500, "text/plain", b"\x1b[31moh"), "answered 500"),
    "says no": (lambda _: (403, "text/plain", b"no"), "answered 403"),
    "another history": (lambda _: (422, "text/plain", b"no"), "not of the history"),
    "sent elsewhere": (lambda _: (302, "text/plain", b""), "redirections"),
    "conflict with nothing": (lambda _: (409, "text/plain", b"5\n"), "not where it stands"),
    "conflict with garbage": (lambda _: (409, SIZE_TYPE, b"05\n"), "not where it stands"),
    "another root, as of old": (
        lambda it: (409, SIZE_TYPE, b"%d\n" % Checkpoint.parse(text_of(it)).size),
        "another tree",
    ),
    "conflict again": (lambda _: (409, SIZE_TYPE, b"1\n"), "answered 409"),
    "ahead": (lambda _: (409, SIZE_TYPE, b"9000000\n"), "larger than"),
}


@pytest.fixture
def new_ledger(tmp_path: Path) -> Path:
    open_ledger(DataDir(tmp_path / "ledger"), origin=ORIGIN).close()
    return tmp_path / "ledger"


def verifier_of(data: Path) -> Verifier:
    return Verifier.parse(DataDir(data).verifier_key.read_text().strip())


@pytest.fixture
def honest(tmp_path: Path, new_ledger: Path) -> Iterator[WitnessHere]:
    witness = WitnessHere(tmp_path / "honest", verifier_of(new_ledger), name="honest.example")
    yield witness
    witness.stop()


def opened(data: Path, policy: str, *, required: bool = False, timeout_s: float = 1.0) -> Ledger:
    settings = WitnessSettings(WitnessPolicy.parse(policy.encode()), required=required, timeout_s=timeout_s)
    return open_ledger(DataDir(data), block_interval_s=0.02, witnessing=settings)


def until(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@pytest.mark.parametrize("what", LIES)
def test_a_liar_is_not_counted_and_keeps_nobody_waiting(new_ledger: Path, honest: WitnessHere, what: str) -> None:
    lie, said = LIES[what]
    liar = Liar(lie)
    policy = (
        f"{honest.policy_line}\nwitness liar {LIAR.verifier} {liar.url}/w\ngroup g any honest.example liar\nquorum g\n"
    )
    ledger = opened(new_ledger, policy, required=True)
    try:
        witnesses = ledger.witnesses
        assert witnesses is not None
        until(lambda: witnesses.witnessed is not None and witnesses.statuses[1].error)
        began = ledger.published_size
        until(lambda: ledger.published_size > began + 3)
        head = ledger.reader.head()
        assert [one.name for one in Note.parse(head.note).signatures] == [ORIGIN, "honest.example"]
        assert said in witnesses.statuses[1].error
        assert "\x1b" not in witnesses.statuses[1].error
        assert witnesses.statuses[1].size == 0
        assert witnesses.statuses[0].error == ""
    finally:
        liar.close()
        ledger.close()
    assert len(liar.asked) < 60  # it is asked less and less often


def test_all_lies_together_are_no_quorum(new_ledger: Path) -> None:
    liar = Liar(other_tree)
    ledger = opened(new_ledger, f"witness liar {LIAR.verifier} {liar.url}\nquorum liar\n", required=True, timeout_s=0.3)
    try:
        assert ledger.witnesses is not None
        assert ledger.witnesses.wait(1) is None
        with pytest.raises(NotWitnessedError):
            ledger.reader.head()
        assert ledger.published_size == 0
        assert ledger.signed_reader.head().size > 0  # sequencing did not wait
    finally:
        liar.close()
        ledger.close()


def test_a_witness_that_others_have_put_ahead_is_followed(new_ledger: Path, honest: WitnessHere) -> None:
    """Somebody sends it our newest checkpoint while we ask about an older one: not a fault of anybody."""
    ledger = opened(new_ledger, f"{honest.policy_line}\nquorum honest.example\n", required=True)
    try:
        for _ in range(20):
            head = ledger.signed_reader.head()
            witnessed = ledger.witnesses.witnessed if ledger.witnesses else None
            old = witnessed.size if witnessed else 0
            proof = ledger.signed_reader.consistency_proof(old, head.size) if 0 < old < head.size else []
            request = AddCheckpoint(old, tuple(proof), head.note).encode()
            honest.witness.add_checkpoint(request)
            time.sleep(0.03)
        began = ledger.published_size
        until(lambda: ledger.published_size > began)
    finally:
        ledger.close()


def test_the_signature_of_a_liar_that_changed_sides_counts(new_ledger: Path) -> None:
    says: dict[str, Callable[[AddCheckpoint], Answer | None]] = {"lie": other_tree}
    liar = Liar(lambda it: says["lie"](it))
    ledger = opened(new_ledger, f"witness liar {LIAR.verifier} {liar.url}\nquorum liar\n")
    try:
        assert ledger.witnesses is not None
        until(lambda: ledger.witnesses and ledger.witnesses.statuses[0].error)
        says["lie"] = lambda it: line(LIAR, text_of(it))
        assert ledger.witnesses.wait(1, 15)
        assert ledger.witnesses.statuses[0].error == ""
    finally:
        liar.close()
        ledger.close()


def test_a_log_that_was_put_back_is_refused_by_what_was_cosigned(new_ledger: Path, honest: WitnessHere) -> None:
    record = HeadRecord(DataDir(new_ledger).head)
    before = record.read()
    record.close()
    ledger = opened(new_ledger, f"{honest.policy_line}\nquorum honest.example\n")
    assert ledger.witnesses is not None
    assert before is not None
    assert ledger.witnesses.wait(before.size + 1, 15)
    ledger.close()
    # Another ledger of the same key in its place, as large, and its cosigned checkpoint kept.
    cosigned = DataDir(new_ledger).cosigned.read_bytes()
    signer = keys.read_signing_key(DataDir(new_ledger).ledger_key)
    record = HeadRecord(DataDir(new_ledger).cosigned)
    newest = record.read()
    assert newest is not None
    larger = Checkpoint(ORIGIN, newest.size + 1_000, bytes(32)).sign(Signer(*signer))
    record.write(type(newest).of_note(larger))
    record.close()
    for policy in (f"{honest.policy_line}\nquorum honest.example\n", None):
        with pytest.raises(HeadMismatchError, match="witnesses cosigned"):
            if policy:
                opened(new_ledger, policy)
            else:
                open_ledger(DataDir(new_ledger))
    DataDir(new_ledger).cosigned.write_bytes(cosigned)
    open_ledger(DataDir(new_ledger)).close()


def test_the_rule_is_for_every_process(new_ledger: Path, honest: WitnessHere) -> None:
    data_dir = DataDir(new_ledger)
    signed = HeadRecord(data_dir.head, read_only=True)
    publication = Publication(data_dir, signed)
    assert read_rule(data_dir) == (Rule.SIGNED, 0)
    assert publication.head() == signed.read()
    with pytest.raises(NotWitnessedError):
        publication.witnessed()
    write_rule(data_dir, Rule.COSIGNED_ONLY, 2)
    for ask in (publication.head, publication.witnessed, publication.note):
        with pytest.raises(NotWitnessedError):
            ask()
    write_rule(data_dir, Rule.COSIGNED_TOO, 7)
    assert read_rule(data_dir) == (Rule.COSIGNED_TOO, 2)
    assert publication.note() == publication.head().note
    ledger = opened(new_ledger, f"{honest.policy_line}\nquorum honest.example\n")
    assert ledger.witnesses is not None
    until(lambda: ledger.witnesses and ledger.witnesses.witnessed)
    until(lambda: len(Note.parse(publication.note()).signatures) == 2)
    ledger.close()
    write_rule(data_dir, Rule.COSIGNED_ONLY, 7)
    assert publication.head() == publication.witnessed()
    for damaged in ("whatever\n", "", "witnesses are asked\n", "witnesses are asked\nsince 07\n"):
        data_dir.publication.write_text(damaged)
        with pytest.raises(CorruptValueError, match="no rule"):
            publication.head()
    open_ledger(data_dir).close()
    assert read_rule(data_dir) == (Rule.SIGNED, 0)
    publication.close()
    signed.close()


def test_the_checkpoint_that_is_shown_never_goes_back(new_ledger: Path) -> None:
    data_dir = DataDir(new_ledger)
    signer = Signer(*keys.read_signing_key(data_dir.ledger_key))
    signed, cosigned = HeadRecord(data_dir.head), HeadRecord(data_dir.cosigned)

    def head(size: int) -> Head:
        return Head.of_note(Checkpoint(ORIGIN, size, bytes(32)).sign(signer))

    def shown() -> int:
        return Head.of_note(publication.note()).size

    signed.write(head(100))
    cosigned.write(head(50))  # from another time: the policy was taken away at some point, and many saw 100
    write_rule(data_dir, Rule.COSIGNED_TOO, 100)
    publication = Publication(data_dir, signed)
    assert shown() == 100
    signed.write(head(120))
    assert shown() == 120
    signed.write(head(130))
    for size, seen in ((105, 120), (119, 120), (121, 121), (125, 125)):
        cosigned.write(head(size))
        assert shown() == seen
    later = Publication(data_dir, signed)
    assert Head.of_note(later.note()).size == 125
    for one in (publication, later, signed, cosigned):
        one.close()


def test_policies_that_cannot_be_gone_by(new_ledger: Path) -> None:
    def witness(number: int, url: str, name: str = "") -> str:
        key = keys.SigningKey.from_seed(number.to_bytes(32, "big"))
        return f"witness w{number} {Cosigner(name or f'w{number}.example', key).verifier} {url}\n"

    one, other = witness(1, "https://w.example/"), Signer("example.com/other", keys.SigningKey.generate()).verifier
    many = "".join(witness(number, "https://w.example", str(number) * 100) for number in range(10, 42))
    names = " ".join(f"w{number}" for number in range(10, 42))
    for policy, said in (
        (witness(1, "") + "quorum w1\n", "no URL"),
        (witness(1, "ftp://w.example") + "quorum w1\n", "not the URL"),
        (witness(1, "http://w.example") + "quorum w1\n", "without TLS"),
        (witness(1, "http://127.0.0.1.example/") + "quorum w1\n", "without TLS"),
        (witness(1, "https://user:secret@w.example/") + "quorum w1\n", "user's name"),
        (witness(1, "https://w.example/?a") + "quorum w1\n", "query"),
        (f"log {other}\n{one}quorum w1\n", "lists logs"),
        (f"{many}group g all {names}\nquorum g\n", "would have"),
    ):
        with pytest.raises(SettingsError, match=said):
            opened(new_ledger, policy)
    assert not DataDir(new_ledger).publication.exists()
    good = f"log {verifier_of(new_ledger)}\n{one}{witness(2, 'http://x.example')}quorum w1\n"  # w2 does not count
    opened(new_ledger, good).close()
    assert DataDir(new_ledger).publication.exists()
    told = WitnessSettings(
        WitnessPolicy.parse((witness(1, "http://w.example") + "quorum w1\n").encode()), insecure=True
    )
    told.check(ORIGIN, [])
    for loopback in ("http://127.0.0.1:1/", "http://localhost:1", "http://[::1]:1/w"):
        WitnessSettings(WitnessPolicy.parse((witness(1, loopback) + "quorum w1\n").encode())).check(ORIGIN, [])


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, MAX_TIMEOUT_S + 0.1, float("nan"), float("inf")])
def test_a_quorum_is_waited_for_no_longer_than_an_emitter_waits_for_an_answer(
    timeout_s: float, new_ledger: Path
) -> None:
    assert MAX_TIMEOUT_S + 5 <= sender.STALLED_S
    with pytest.raises(SettingsError, match="is waited for up to 20 s"):
        opened(new_ledger, "quorum none\n", timeout_s=timeout_s)


def test_no_quorum_wanted(new_ledger: Path) -> None:
    ledger = opened(new_ledger, "quorum none\n", required=True)
    try:
        until(lambda: ledger.published_size > 5)
    finally:
        ledger.close()
