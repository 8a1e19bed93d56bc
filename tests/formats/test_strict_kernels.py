"""The strict encoding has two implementations, C and Python: whatever the bytes, they say the same."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats import strict_checks, strict_tables
from lineage_ledger.formats.strict_rules import RULES
from lineage_ledger.formats.strict_scanner import PLANS, scan_message
from lineage_ledger.formats.strict_tables import NAMES, PLACES, TABLES
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples
from tests.formats.entry_faults import framed, refused, varint
from tests.formats.entry_mutations import LENGTHS, NUMBERS, TEXTS, Tree, mutate
from tests.formats.entry_strategies import entries
from tests.kernel.kernel_examples import KERNELS, run

pytestmark = pytest.mark.skipif("c" not in KERNELS, reason="there is no C kernel")

VECTORS = Path(__file__).parents[1] / "vectors/entries"


def is_accepted(data: bytes, name: str = "Entry") -> bool:
    """What both say. Where C refuses it asks Python what is wrong, and a SystemError says that nothing is."""
    try:
        KERNELS["c"].check_strict(PLACES[name], data)
    except MalformedEntryError:
        return False
    scan_message(name, data)
    return True


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_vectors(kind: str) -> None:
    vectors = json.loads((VECTORS / f"{kind}.json").read_text())
    assert all(is_accepted(bytes.fromhex(vector["entry"])) for vector in vectors["accepted"])
    assert not any(is_accepted(bytes.fromhex(vector["entry"])) for vector in vectors["refused"])


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_every_known_fault(kind: str) -> None:
    assert not any(map(is_accepted, refused(kind).values()))


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_every_bit_and_every_cut(kind: str) -> None:
    entry = examples.FULL[kind].SerializeToString()
    for at in range(len(entry)):
        is_accepted(entry[:at])
        is_accepted(entry[:at] + entry[at + 1 :])
        for bit in range(8):
            is_accepted(entry[:at] + bytes([entry[at] ^ 1 << bit]) + entry[at + 1 :])


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_changed_fields(kind: str) -> None:
    entry, random = examples.FULL[kind].SerializeToString(), Random(kind)
    said = Counter(is_accepted(mutate(entry, random)) for _ in range(150))
    assert said[False] > 50
    assert said[True] > 0


@given(entry=entries, seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_changed_fields_of_any_entry(entry: bytes, seed: int) -> None:
    assert is_accepted(entry)
    random = Random(seed)
    for _ in range(5):
        is_accepted(mutate(entry, random))


@given(noise=st.binary(max_size=200), name=st.sampled_from(sorted(PLANS)))
@settings(deadline=None)
def test_noise_as_any_message(noise: bytes, name: str) -> None:
    is_accepted(noise, name)


def example_trees() -> Iterator[Tree]:
    """Every message that the examples hold, at any depth."""
    for entry in examples.FULL.values():
        yield from Tree.parse(pb.Entry, entry.SerializeToString()).trees()
    yield from Tree.parse(pb.Entry, examples.seal_entry(examples.first_seal_body())).trees()


EXAMPLES = {tree.encode(): tree.message.DESCRIPTOR.name for tree in example_trees()}


def test_every_message_as_every_message() -> None:
    assert set(EXAMPLES.values()) == set(PLANS)
    for data, own_name in EXAMPLES.items():
        assert is_accepted(data, own_name)
        for name in PLANS:
            is_accepted(data, name)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_every_value_of_every_field(name: str) -> None:
    """At and beside each bound, of each field by itself, present or not in the example."""
    for data in [data for data, own_name in EXAMPLES.items() if own_name == name]:
        fields = Tree.parse(getattr(pb, name), data).fields
        for field in PLANS[name].fields.values():
            bounds = {bound + by for bound in (field.rule.least, field.rule.most, field.most) for by in (-1, 0, 1)}
            values: list[bytes | int]
            if field.wire_type == 2:
                lengths = [bound for bound in bounds if 0 <= bound <= 65_535]
                values = [*TEXTS, *(b"a" * length for length in lengths), *(bytes(length) for length in LENGTHS)]
            else:
                values = [*NUMBERS, *range(20), *(bound for bound in bounds if 0 <= bound < 2**65)]
            others = [each for each in fields if each[0] != field.number]
            is_accepted(Tree(getattr(pb, name), others).encode(), name)
            for value in values:
                changed = sorted([*others, (field.number, field.wire_type, value)], key=lambda each: each[0])
                is_accepted(Tree(getattr(pb, name), changed).encode(), name)


REPEATED = [(name, field.name) for name, plan in PLANS.items() for field in plan.fields.values() if field.repeated]


@pytest.mark.parametrize(("name", "field_name"), REPEATED)
def test_number_and_order_of_elements(name: str, field_name: str) -> None:
    """As many as may be are accepted and one more is not; nor are equal ones and wrong orders, if there is an order."""
    data = next(data for data, own_name in EXAMPLES.items() if own_name == name)
    message = getattr(pb, name).FromString(data)
    field, elements = PLANS[name].rules.fields[field_name], getattr(message, field_name)
    made = list(map(partial(element, elements[0]), range(field.max_elements + 1)))

    def accepted(chosen: list[Any]) -> bool:
        del elements[:]
        elements.extend(chosen)
        return is_accepted(message.SerializeToString(), name)

    assert accepted(made[:-1])
    assert not accepted(made)
    is_ordered = field.ascending_by is not None or field_name in ("lost", "ranges")
    for chosen in ([made[1], made[0]], [made[0], made[0]], [made[0], made[2], made[1]]):
        assert accepted(chosen) != is_ordered


def element(like: Any, place: int) -> Any:
    """An element above those of lower places."""
    if isinstance(like, bytes):
        return place.to_bytes(len(like), "big")
    changed = type(like)()
    changed.CopyFrom(like)
    names = {field.name for field in PLANS[like.DESCRIPTOR.name].fields.values()}
    for each, value in (("name", f"{place:05}"), ("path", f"{place:05}"), ("first", 2 * place), ("count", 1)):
        if each in names and like.DESCRIPTOR.name != "Binding":
            setattr(changed, each, value)
    return changed


@pytest.mark.parametrize("algorithm", range(1, 7))
def test_every_algorithm(algorithm: int) -> None:
    for size in (3, 4, 5, 15, 16, 17, 19, 20, 21, 31, 32, 33, 63, 64, 65):
        digest = pb.Digest(value=bytes(size))
        data = b"\x08" + varint(algorithm) + digest.SerializeToString()
        is_fitting = size == strict_checks.DIGEST_BYTES.get(algorithm)
        assert is_accepted(data, "Digest") == is_fitting
        commits = algorithm in (pb.DIGEST_ALGORITHM_SHA1, pb.DIGEST_ALGORITHM_SHA256)
        assert is_accepted(b"\x12" + varint(len(data)) + data, "Code") == (is_fitting and commits)


def test_names_that_begin_alike_ascend() -> None:
    names = ["a", "ab", "b"]
    for first in names:
        for second in names:
            message = pb.Run(
                kind=pb.RUN_KIND_OTHER, name="x", metrics=[pb.Attribute(name=name) for name in (first, second)]
            )
            assert is_accepted(message.SerializeToString(), "Run") == (first < second)


def test_wire_types_that_there_are_none_of() -> None:
    """Also where a number has no field, before and behind fields that there are."""
    for data, name in EXAMPLES.items():
        for number in (0, 7, 16, 63):
            for wire_type in (3, 4, 6, 7):
                nothing = varint(number << 3 | wire_type) + bytes(4)
                assert not is_accepted(nothing + data, name)
                assert not is_accepted(data + nothing, name)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_empty(name: str) -> None:
    assert not is_accepted(b"", name)


@pytest.mark.parametrize("before", [b"", b"a", b"seven..", b"\xc3\xa9" * 4], ids=len)
def test_text_of_every_class(before: bytes) -> None:
    accepted = [
        text for text in TEXTS if is_accepted(b"\x0a" + varint(len(before + text)) + before + text, "Attribute")
    ]
    expected = []
    for text in TEXTS:
        try:
            expected += [text] if "\0" not in (before + text).decode() else []
        except UnicodeDecodeError:
            continue
    assert accepted == expected
    assert 5 < len(accepted) < len(TEXTS) - 20


def test_text_of_all_short_byte_strings() -> None:
    """Every lead byte with every second byte, and the borders of the third and fourth."""
    borders = [b"", *(bytes([byte]) for byte in (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0))]
    for lead in range(0x80, 0x100):
        for second in range(0x100):
            for rest in borders if second in (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0) else [b""]:
                for last in borders if lead >= 0xF0 and rest else [b""]:
                    text = bytes([lead, second]) + rest + last
                    assert _c_accepts(b"\x0a" + varint(len(text)) + text, "Attribute") == _decodes(text), text


def _c_accepts(data: bytes, name: str) -> bool:
    try:
        KERNELS["c"].check_strict(PLACES[name], data)
    except MalformedEntryError:
        return False
    return True


def _decodes(text: bytes) -> bool:
    try:
        return "\0" not in text.decode()
    except UnicodeDecodeError:
        return False


def test_depth_and_time() -> None:
    nested = examples.FULL["conflict"].SerializeToString()
    while len(nested) < 65_000:
        nested = framed("conflict", b"\x0a" + varint(len(nested)) + nested)
        is_accepted(nested[:65_535])
    for hostile in (b"\x12\xfc\xff\x03" + b"\x0a" * 65_531, b"\x22\xfc\xff\x03" + b"\x22\x00" * 32_765):
        assert not is_accepted(hostile)
    assert not is_accepted(bytes(65_536))
    assert is_accepted(run(65_539)[4:], "Run")
    assert not is_accepted(run(65_540)[4:], "Run")
    assert not is_accepted(b"\x08\x01" + bytes(65_534), "NumberRange")


# What the tables must be.


def test_every_rule_is_in_the_tables() -> None:
    assert set(NAMES) - set(RULES) == {"Entry that is a seal"}
    assert len(NAMES) == len(RULES) + 1
    used = {check.func if isinstance(check, partial) else check for rules in RULES.values() for check in rules.across}
    for check in used:
        assert check.__name__.encode() in TABLES


def test_a_rule_that_c_does_not_know_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def new_rule(message: strict_checks.Fields) -> None:
        del message

    rules = PLANS["Digest"].rules._replace(across=[new_rule])
    plans = {**strict_tables._PLANS, "Digest": PLANS["Digest"]._replace(rules=rules)}
    with pytest.raises(KeyError, match="new_rule"):
        strict_tables._compile(plans, PLACES)
    monkeypatch.setattr(strict_tables, "_ARGUMENTS", {**strict_tables._ARGUMENTS, new_rule: ("value",)})
    with pytest.raises(ValueError, match="a check is not known to this kernel"):
        learned(strict_tables._compile(plans, PLACES))


@pytest.mark.parametrize(
    ("message", "field_name", "change"),
    [
        ("Digest", "value", {"number": 64}),
        ("Digest", "algorithm", {"enum": frozenset({64})}),
        ("Run", "inputs", {"repeated": False}),
        ("Run", "name", {"repeated": True}),
        ("Conflict", "first_seal", {"message": "Run"}),
    ],
)
def test_what_tables_cannot_say_is_refused(message: str, field_name: str, change: dict[str, Any]) -> None:
    named = {field.name: field for field in PLANS[message].fields.values()}
    named[field_name] = named[field_name]._replace(**change)
    fields = {field.number: field for field in named.values()}
    plans = {**strict_tables._PLANS, message: PLANS[message]._replace(fields=fields)}
    with pytest.raises((ValueError, KeyError)):
        learned(strict_tables._compile(plans, PLACES))


PROGRAM = """
import sys
from lineage_ledger import _kernel
try:
    _kernel.learn_strict(sys.stdin.buffer.read())
except ValueError as error:
    print(error)
"""


def learned(tables: bytes) -> None:
    """Hand tables over to a kernel that has none; raises what it raised."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=tables, capture_output=True, check=True)
    if done.stdout:
        raise ValueError(done.stdout.decode())


def words(**changes: int) -> bytes:
    """The tables with some words changed, by place."""
    changed = list(struct.unpack(f"<{len(TABLES) // 8}Q", TABLES))
    for place, value in changes.items():
        changed[int(place[1:])] = value
    return struct.pack(f"<{len(changed)}Q", *changed)


# Where the words of the tables are.
MESSAGE = 4
FIELD = MESSAGE + 6 * len(NAMES)


@pytest.mark.parametrize(
    "tables",
    [
        b"",
        TABLES[:31],
        TABLES[:-1],
        TABLES[:-8],
        TABLES + bytes(8),
        words(_0=1),
        words(_1=0),
        words(_1=2**61),
        words(_2=2**62 + 1),
        words(_3=2**63),
        words(**{f"_{MESSAGE}": 2**40}),
        words(**{f"_{MESSAGE + 1}": 64}),
        words(**{f"_{MESSAGE + 1}": 2**40}),
        words(**{f"_{MESSAGE + 2}": 2**40}),
        words(**{f"_{MESSAGE + 3}": 2**40}),
        words(**{f"_{MESSAGE + 4}": 1}),
        words(**{f"_{MESSAGE + 4}": 1 << 16}),
        words(**{f"_{MESSAGE + 5}": 2}),
        words(**{f"_{FIELD}": 2}),
        words(**{f"_{FIELD + 8}": 3}),
        words(**{f"_{FIELD + 8 + 1}": 2}),
        words(**{f"_{FIELD + 8 + 2}": 2**32}),
        words(**{f"_{FIELD + 8 + 3}": 1}),
        words(**{f"_{FIELD + 8 + 3}": 65}),
        words(**{f"_{FIELD + 8 + 4}": len(NAMES)}),
        words(**{f"_{FIELD + 8 + 5}": 0}),
        words(**{f"_{FIELD + 8 + 6}": 0}),
        words(**{f"_{FIELD + 8 + 7}": 2}),
        words(**{f"_{len(TABLES) // 8 - 12}": 0}),
        words(**{f"_{len(TABLES) // 8 - 9}": 9}),
    ],
)
def test_malformed_tables_are_refused(tables: bytes) -> None:
    with pytest.raises(ValueError, match="tables of the strict encoding: "):
        learned(tables)


def test_tables_are_taken_once() -> None:
    learned(TABLES)
    KERNELS["c"].learn_strict(TABLES)
    with pytest.raises(ValueError, match="other tables"):
        KERNELS["c"].learn_strict(TABLES[:-8])
    with pytest.raises(TypeError):
        KERNELS["c"].learn_strict(bytearray(TABLES))


@pytest.mark.parametrize("kernel", ["c", "python"])
def test_without_rules_nothing_is_accepted(kernel: str) -> None:
    program = "from lineage_ledger import kernel\n{}"
    for call in ("kernel.check_strict(0, b'x')", "kernel.scan(b'\\0\\3\\x4a\\1\\0')"):
        done = subprocess.run(
            [sys.executable, "-c", program.format(call)],
            env={"LINEAGE_KERNEL": kernel, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "RuntimeError: the kernel does not know the strict encoding" in done.stderr


def test_what_c_refuses_alone_is_no_ones_fault() -> None:
    """If Python accepts what C refused, the kernel is broken: that is said loudly, and nothing is accepted."""
    from lineage_ledger import _kernel_checks

    entry = examples.FULL["block"].SerializeToString()
    with pytest.raises(SystemError, match="the C kernel refused"):
        _kernel_checks.explain_strict(0, entry)
    with pytest.raises(SystemError, match="the C kernel refused entry 0"):
        _kernel_checks.explain(struct.pack(">H", len(entry)) + entry, 0, 0, 1 << 20, 9)


def test_places_that_are_none() -> None:
    for place in (len(NAMES), 1 << 40, 1 << 62):
        with pytest.raises(ValueError, match="there is no message"):
            KERNELS["c"].check_strict(place, b"")
    for arguments in [(-1, b""), (1 << 64, b""), (0, "text"), (0, bytearray(b"x")), (0,), (0, b"", b""), ("0", b"")]:
        with pytest.raises((TypeError, OverflowError)):
            KERNELS["c"].check_strict(*arguments)
