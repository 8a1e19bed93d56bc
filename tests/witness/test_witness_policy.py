"""Witness policies: what satisfies one, and every text that is none."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import LineageError, MalformedError, QuorumError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Note, Signer
from lineage_ledger.formats.witness_policy import MAX_DEFINITIONS, MAX_POLICY_BYTES, WitnessPolicy

LOG = Signer("example.com/log", keys.SigningKey.from_seed(bytes([1]) * 32))
OTHER_LOG = Signer("example.com/other", keys.SigningKey.from_seed(bytes([2]) * 32))
# Fixed seeds: what tests are called must not change from one process to the next.
COSIGNERS = {
    name: Cosigner(f"{name.lower()}.example/w", keys.SigningKey.from_seed(name.encode() * 32)) for name in "ABCDEF"
}
TEXT = Checkpoint("example.com/log", 5, bytes(32)).encode()
TIME = 1_700_000_000
VKEY = {name: str(cosigner.verifier) for name, cosigner in COSIGNERS.items()}
WITNESSES = "".join(f"witness {name} {vkey}\n" for name, vkey in VKEY.items())
TWO_LEVELS = f"""# two houses
log {LOG.verifier} https://log.example/
\t
{WITNESSES}
  group X 2 A\tB C
group Y any D E F
group both all X Y
quorum both
"""


def policy(text: str) -> WitnessPolicy:
    return WitnessPolicy.parse(text.encode())


def signed(*names: str, text: str = TEXT) -> bytes:
    return Note(text, (LOG.sign(text), *(COSIGNERS[name].cosign(text, TIME) for name in names))).encode()


@pytest.mark.parametrize("names", [set(names) for n in range(7) for names in itertools.combinations("ABCDEF", n)])
def test_two_levels(names: set[str]) -> None:
    expected = len(names & set("ABC")) >= 2 and bool(names & set("DEF"))
    parsed = policy(TWO_LEVELS)
    assert parsed.is_satisfied_by(names) is expected
    assert parsed.names == frozenset("ABCDEF")
    if expected:
        found = parsed.check(signed(*sorted(names, reverse=True)), LOG.verifier)
        assert [(one.witness.name, one.time_unix_s) for one in found] == [(name, TIME) for name in sorted(names)]
    else:
        with pytest.raises(QuorumError, match="2 of X, Y must"):
            parsed.check(signed(*names))


def test_one_witness_and_none() -> None:
    one = policy(WITNESSES + "quorum C\n")
    assert one.check(signed("C"))[0].witness.verifier == COSIGNERS["C"].verifier
    assert one.names == {"C"}
    with pytest.raises(QuorumError, match="A, B cosigned it, and C must"):
        one.check(signed("A", "B"))
    assert policy("quorum none\n").check(signed()) == ()
    assert len(policy(WITNESSES + "quorum none\n").check(signed("A"))) == 1
    assert policy("quorum none\n").names == frozenset()


def test_a_name_that_only_sounds_like_a_witness_counts_for_nothing() -> None:
    assert not policy(TWO_LEVELS).is_satisfied_by({"X", "Y", "both", "none"})


def test_a_false_cosignature_refuses_the_note() -> None:
    parsed = policy(TWO_LEVELS)
    other = COSIGNERS["D"].cosign(Checkpoint("example.com/log", 5, bytes([1]) * 32).encode(), TIME)
    note = Note(TEXT, (LOG.sign(TEXT), *(COSIGNERS[name].cosign(TEXT, TIME) for name in "ABE"), other))
    with pytest.raises(SignatureError, match=r"d\.example"):
        parsed.check(note.encode())


def test_a_cosignature_of_another_time_than_it_says_is_refused() -> None:
    line = COSIGNERS["A"].cosign(TEXT, TIME)
    later = line._replace(payload=(TIME + 1).to_bytes(8, "big") + line.payload[8:])
    with pytest.raises(SignatureError):
        policy(WITNESSES + "quorum A\n").check(Note(TEXT, (LOG.sign(TEXT), later)).encode())


def test_unknown_witnesses_are_passed_over() -> None:
    stranger = Cosigner("a.example/w", keys.SigningKey.generate())  # a name that the policy knows, another key
    note = Note(TEXT, (LOG.sign(TEXT), stranger.cosign(TEXT, TIME), COSIGNERS["A"].cosign(TEXT, TIME))).encode()
    assert len(policy(WITNESSES + "quorum A\n").check(note)) == 1


def test_a_policy_for_other_logs() -> None:
    assert policy(TWO_LEVELS).check(signed("A", "B", "D"), LOG.verifier)
    with pytest.raises(QuorumError, match="other logs"):
        policy(TWO_LEVELS).check(signed("A", "B", "D"), OTHER_LOG.verifier)
    without_logs = policy(WITNESSES + "quorum A\n")
    assert without_logs.check(signed("A"), OTHER_LOG.verifier)


def test_names_are_octets() -> None:
    kelvin = WitnessPolicy.parse(f"witness \u212a {VKEY['A']}\nquorum \u212a\n".encode())
    assert not kelvin.is_satisfied_by({"K"})
    latin = WitnessPolicy.parse(b"# caf\xe9\nwitness \xe9 " + VKEY["A"].encode() + b" http://\xe9/\nquorum \xe9\n")
    assert len(latin.check(signed("A"))) == 1
    with pytest.raises(QuorumError, match="udce9 must"):
        latin.check(signed("B"))
    nbsp = WitnessPolicy.parse(f"witness a\u00a0b\u0085 {VKEY['A']}\nquorum a\u00a0b\u0085\n".encode())
    assert nbsp.witnesses[0].name == "a\u00a0b\u0085"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "no line 'quorum'"),
        (WITNESSES, "no line 'quorum'"),
        ("quorum none", "line 1 .*cut off"),
        ("quorum none\nquorum none\n", "line 2 .*second"),
        ("quorum none extra\n", "line 1"),
        ("quorum\n", "line 1"),
        ("quorum A\n" + WITNESSES, "line 1 .*not defined"),
        ("Quorum none\n", "line 1"),
        ("quorum none\r\n", "line 1 .*0x0d at column 12"),
        ("\0\nquorum none\n", "line 1 .*0x00"),
        ("# \x7f\nquorum none\n", "line 1 .*0x7f"),
        ("\x0bquorum none\n", "line 1 .*0x0b"),
        ("quorum\u00a0none\n", "line 1"),
        ("log\nquorum none\n", "line 1"),
        (f"log {LOG.verifier} a b\nquorum none\n", "line 1"),
        (f"log {VKEY['A']}\nquorum none\n", "line 1 .*type 1"),
        (f"log {LOG.verifier}x\nquorum none\n", "line 1"),
        (f"log {LOG.verifier}\n\nlog {LOG.verifier}\nquorum none\n", "line 3 .*public key"),
        (f"log {LOG.verifier}\nlog {Signer('other', LOG.key).verifier}\nquorum none\n", "line 2 .*public key"),
        (f"witness A {LOG.verifier}\nquorum A\n", "line 1 .*type 4"),
        (f"witness A {VKEY['A']}\nwitness A {VKEY['B']}\nquorum A\n", "line 2 .*taken"),
        (f"witness A {VKEY['A']}\nwitness B {VKEY['A']}\nquorum A\n", "line 2 .*public key"),
        (
            f"witness A {VKEY['A']}\nwitness B {Cosigner('b', COSIGNERS['A'].key).verifier}\nquorum A\n",
            "line 2 .*public key",
        ),
        (f"witness none {VKEY['A']}\nquorum none\n", "line 1 .*taken"),
        (f"witness {'n' * 256} {VKEY['A']}\nquorum none\n", "line 1 .*255"),
        (f"witness A {VKEY['A']} {'u' * 2049}\nquorum A\n", "line 1 .*URL"),
        (f"witness A {VKEY['A']} u v\nquorum A\n", "line 1"),
        ("witness A PRIVATE+KEY+a+00000000+AA==\nquorum A\n", "line 1 .*signing key"),
        (f"{WITNESSES}group A all B\nquorum A\n", "line 7 .*taken"),
        (f"{WITNESSES}group none all B\nquorum none\n", "line 7 .*taken"),
        (f"{WITNESSES}group g all\nquorum g\n", "line 7"),
        (f"{WITNESSES}group g 0 A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g 01 A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g +1 A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g \u0661 A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g 99999 A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g ALL A\nquorum g\n", "line 7 .*neither"),
        (f"{WITNESSES}group g 3 A B\nquorum g\n", "line 7 .*never"),
        (f"{WITNESSES}group g 1 A A\nquorum g\n", "line 7 .*once"),
        (f"{WITNESSES}group g any A\ngroup h any A\nquorum h\n", "line 8 .*once"),
        (f"{WITNESSES}group g any none\nquorum g\n", "line 7 .*not defined"),
        (f"{WITNESSES}group g any g\nquorum g\n", "line 7 .*not defined"),
        (f"{WITNESSES}group g any h\ngroup h any g\nquorum h\n", "line 7 .*not defined"),
    ],
)
def test_what_is_no_policy(text: str, where: str) -> None:
    with pytest.raises(MalformedError, match=where):
        policy(text)


def test_bounds() -> None:
    def witness(number: int) -> str:
        key = keys.SigningKey.from_seed(number.to_bytes(32, "big"))
        return f"witness w{number} {Cosigner('w', key).verifier}\n"

    lines = "".join(map(witness, range(MAX_DEFINITIONS)))
    chain = "group g0 any w0\n" + "".join(f"group g{n} all w{n} g{n - 1}\n" for n in range(1, MAX_DEFINITIONS))
    deepest = policy(f"{lines}{chain}quorum g{MAX_DEFINITIONS - 1}\n")
    assert deepest.is_satisfied_by({f"w{n}" for n in range(MAX_DEFINITIONS)})
    assert not deepest.is_satisfied_by({f"w{n}" for n in range(1, MAX_DEFINITIONS)})
    with pytest.raises(MalformedError, match=r"line 33 .*more than 32 witnesses"):
        policy(f"{lines}{witness(MAX_DEFINITIONS)}quorum none\n")
    with pytest.raises(MalformedError, match="bytes, more than"):
        WitnessPolicy.parse(b"#" * MAX_POLICY_BYTES + b"\n")
    with pytest.raises(MalformedError, match="lines, more than"):
        WitnessPolicy.parse(b"\n" * 5_000)


_WORD = st.sampled_from(["log", "witness", "group", "quorum", "all", "any", "1", "none", "A", "g", "#", *VKEY.values()])


@given(st.lists(st.lists(_WORD, max_size=5).map(" ".join), max_size=8))
def test_any_text_is_a_policy_or_refused(lines: list[str]) -> None:
    try:
        parsed = policy("".join(f"{line}\n" for line in lines))
    except LineageError as error:
        assert isinstance(error, MalformedError)
        return
    assert parsed.is_satisfied_by({witness.name for witness in parsed.witnesses})
    assert parsed.is_satisfied_by(()) is (parsed.quorum == "none")
