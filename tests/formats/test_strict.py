"""The strict encoding: everything valid is accepted, and nothing that could be a second encoding of it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import LineageError, MalformedEntryError
from lineage_ledger.formats import strict
from lineage_ledger.formats.strict_rules import RULES
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples
from tests.formats.entry_faults import BODIES, COMMENTS, bounds_in, framed, refused, varint
from tests.formats.entry_strategies import entries

ROOT = Path(__file__).parents[2]
VECTORS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/vectors/entries").glob("*.json")}
GOOD = [(kind, vector) for kind, vectors in sorted(VECTORS.items()) for vector in vectors["accepted"]]
BAD = [(kind, vector) for kind, vectors in sorted(VECTORS.items()) for vector in vectors["refused"]]


def is_accepted(entry: bytes) -> bool:
    """Whether the entry is accepted; an accepted one must be the only encoding of what it says."""
    try:
        kind = strict.check_entry(entry)
    except MalformedEntryError:
        return False
    parsed = pb.Entry.FromString(entry)
    assert parsed.SerializeToString() == entry
    name = parsed.WhichOneof("kind")
    assert name is not None
    assert pb.Entry.DESCRIPTOR.fields_by_name[name].number == kind == entry[0] >> 3
    if name in BODIES:
        body = getattr(parsed, name).body
        assert BODIES[name].FromString(body).SerializeToString() == body
    return True


def test_there_are_vectors_for_every_kind() -> None:
    kinds = {field.name for field in pb.Entry.DESCRIPTOR.fields}
    assert VECTORS.keys() == examples.FULL.keys() == kinds
    assert len(GOOD) > len(kinds)
    assert len(BAD) > 20 * len(kinds)


@pytest.mark.parametrize(("kind", "vector"), GOOD, ids=lambda value: value if isinstance(value, str) else value["name"])
def test_accepted_vectors(kind: str, vector: dict[str, Any]) -> None:
    entry = bytes.fromhex(vector["entry"])
    assert is_accepted(entry)
    assert hashlib.sha256(b"\0" + entry).hexdigest() == vector["leaf_hash"]
    parsed = getattr(strict.parse_entry(entry), kind)
    assert fill(type(parsed)(), vector["fields"]).SerializeToString() == parsed.SerializeToString()
    if kind in BODIES:
        assert fill(BODIES[kind](), vector["body"]).SerializeToString() == parsed.body
        strict.check_message(BODIES[kind], parsed.body)


def fill(message: Message, fields: dict[str, Any]) -> Message:
    """The message that a vector's plain fields describe."""
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        for item in value if isinstance(value, list) else [value]:
            if field.message_type:
                target = getattr(message, name)
                fill(target.add() if isinstance(value, list) else target, item)
            else:
                content = bytes.fromhex(item) if field.type == field.TYPE_BYTES else item
                if isinstance(value, list):
                    getattr(message, name).append(content)
                else:
                    setattr(message, name, content)
    return message


@pytest.mark.parametrize("kind", sorted(VECTORS))
def test_refused_vectors(kind: str) -> None:
    for vector in VECTORS[kind]["refused"]:
        with pytest.raises(MalformedEntryError) as refusal:
            strict.check_entry(bytes.fromhex(vector["entry"]))
        assert str(refusal.value).startswith(vector["field"] + ": "), vector["name"]
        assert f"(at byte {refusal.value.offset})" in str(refusal.value)


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_refused_vectors_hold_every_fault_known_to_the_tests(kind: str) -> None:
    committed = {vector["entry"] for vector in VECTORS[kind]["refused"]}
    assert {entry.hex() for entry in refused(kind).values()} <= committed, "run python -m tests.vectors.make_entries"


@given(entry=entries)
@settings(max_examples=300, deadline=None)
def test_every_valid_entry_is_accepted(entry: bytes) -> None:
    assert is_accepted(entry)


@given(entry=entries, data=st.data())
@settings(max_examples=600, deadline=None)
def test_a_mutation_is_refused_or_another_entry(entry: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entry) - 1))
    some = data.draw(st.binary(min_size=1, max_size=12))
    mutated = data.draw(
        st.sampled_from(
            [
                entry[:at],
                entry[at:],
                entry[:at] + entry[at + 1 :],
                entry[:at] + entry[at : at + 1] + entry[at:],
                entry[:at] + some + entry[at:],
                entry[:at] + some + entry[at + len(some) :],
                entry + some,
                entry[:at] + bytes([entry[at] ^ 0x80, 0]) + entry[at + 1 :],
            ]
        )
    )
    if is_accepted(mutated) and mutated != entry:
        assert hashlib.sha256(b"\0" + mutated).digest() != hashlib.sha256(b"\0" + entry).digest()


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_every_small_mutation_of_every_kind(kind: str) -> None:
    entry = examples.FULL[kind].SerializeToString()
    for at in range(len(entry)):
        assert not is_accepted(entry[:at])
        assert not is_accepted(entry[:at] + entry[at + 1 :])
        assert not is_accepted(entry[:at] + entry[at : at + 1] + entry[at:])
        for bit in range(8):
            is_accepted(entry[:at] + bytes([entry[at] ^ 1 << bit]) + entry[at + 1 :])
        # A byte more inside, with the entry's own length put right.
        content = entry[2 + (entry[1] > 0x7F) :]
        is_accepted(framed(kind, content[:at] + b"\0" + content[at:]))
    for byte in range(256):
        assert not is_accepted(entry + bytes([byte]))


@given(noise=st.binary(max_size=200))
def test_noise_never_makes_another_error(noise: bytes) -> None:
    is_accepted(noise)
    for kind in ("seal", "run", "conflict"):
        is_accepted(framed(kind, noise))


@pytest.mark.parametrize(
    ("message_type", "data", "problem"),
    [
        (
            pb.Binding,
            b"\x0a\x20" + bytes(32) + b"\x10" + varint(2**32),
            "count: is 4294967296; it must be at most",
        ),
        (pb.Code, b"\x20\x02", "dirty: is 2; it must be at most 1"),
        (pb.Digest, b"\x08\x80\x01", "algorithm: is 128, which is no known value"),
        (pb.NumberRange, b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x10\x01", "first: has the varint"),
        (
            pb.Genesis,
            b"\x08\x01" + b"\x22\x20" + bytes(32) + b"\x22\x40" + bytes(64),
            r"admin_public_keys\[1\]: is 64 bytes",
        ),
        (pb.Run, b"\x08\x01\x1a\x01a\x22\x02\x0a\x00", r"inputs\[0\].digest: is empty"),
        (pb.Artifact, b"\x08\x80", "kind: has a varint without an end"),
        (pb.Entry, b"", "entry: is 0 bytes"),
        (pb.Entry, b"\x00\x00", "entry: begins with 0x00"),
        (pb.Entry, b"\x3a\x02\x08\x01", "entry: begins with 0x3a"),
        (pb.Entry, b"\x8a\x00\x00", "entry: begins with 0x8a"),
        (pb.Entry, b"\x0b\x0c", "entry: begins with 0x0b"),
    ],
)
def test_messages_by_themselves(message_type: type[Message], data: bytes, problem: str) -> None:
    with pytest.raises(MalformedEntryError, match=f"^{problem}"):
        strict.check_message(message_type, data)


def test_bounds_of_lists_and_lengths() -> None:
    digest = pb.Digest(algorithm=pb.DIGEST_ALGORITHM_CRC32, value=b"crc3")
    run = pb.Run(kind=pb.RUN_KIND_OTHER, name="x", parameters=[pb.Attribute(name=f"{i:04}") for i in range(1_024)])
    assert is_accepted(pb.Entry(run=run).SerializeToString())
    run.parameters.add(name="9999")
    with pytest.raises(MalformedEntryError, match=r"^run.parameters\[1024\]: is one too many; at most 1,024"):
        strict.check_entry(pb.Entry(run=run).SerializeToString())
    too_long = pb.Artifact(kind=pb.ARTIFACT_KIND_OTHER, digest=digest, name="x")
    too_long.attributes.extend(pb.Attribute(name=f"{i:04}", value="v" * 4_096) for i in range(16))
    with pytest.raises(MalformedEntryError, match=r"^entry: is 65\d\d\d bytes; it must be 1 to 65,535"):
        strict.check_entry(pb.Entry(artifact=too_long).SerializeToString())
    too_long.attributes[15].value = too_long.attributes[15].value[:-300]
    assert is_accepted(pb.Entry(artifact=too_long).SerializeToString())


def test_a_full_seal_fits_and_two_fit_into_a_conflict() -> None:
    body = examples.seal_body()
    del body.lost[:], body.bindings[:]
    body.lost.extend(pb.NumberRange(first=2**62 + i * 2**50, count=2**49) for i in range(512))
    body.bindings.extend(pb.Binding(deployment_hash=bytes([i]) * 32, count=16_384) for i in range(255))
    seals = [examples.seal_entry(body)]
    assert is_accepted(seals[0])
    body.closing = False
    seals.append(examples.seal_entry(body))
    assert is_accepted(pb.Entry(conflict=pb.Conflict(first_seal=seals[0], second_seal=seals[1])).SerializeToString())
    body.bindings.add(deployment_hash=bytes(32))
    with pytest.raises(MalformedEntryError, match=r"^seal.body.bindings\[255\]: is one too many"):
        strict.check_entry(examples.seal_entry(body))


def test_time_is_linear_and_depth_is_the_contracts() -> None:
    nested = examples.FULL["conflict"].SerializeToString()
    while len(nested) < 65_000:  # A conflict in a conflict in a conflict...
        nested = framed("conflict", b"\x0a" + varint(len(nested)) + nested)
    lost = framed("seal", b"\x0a" + varint(31_900) + b"\x5a\x00" * 15_950)
    worst = [nested[:65_535], lost, b"\x22\xfc\xff\x03" + b"\x22\x00" * 32_765, b"\x1a\xfb\xff\x03" + b"\x80" * 65_531]
    worst.append(framed("run", b"\x08\x01\x1a\x01x" + b"\x22\x0a\x0a\x08\x08\x05\x12\x04crc3" * 1_024))
    start = time.perf_counter()
    for entry in worst:
        assert not is_accepted(entry) or entry is worst[-1]
    assert time.perf_counter() - start < 1


def test_check_message_takes_only_messages_of_entries() -> None:
    with pytest.raises(KeyError):
        strict.check_message(FileDescriptorProto, b"")


def test_the_error_is_one_of_ours_and_names_the_deepest_field() -> None:
    run = examples.run()
    run.inputs.add(digest=examples.sha256(1)).digest.value = b"short"
    with pytest.raises(
        LineageError, match=r"^run.inputs\[2\].digest.value: is 5 bytes; algorithm 1 has 32 \(at byte \d+\)$"
    ):
        strict.check_entry(pb.Entry(run=run).SerializeToString())


def test_the_table_says_what_the_contract_says() -> None:
    """What the comments of entry.proto call required, and the bounds they give, are the table's."""
    compared = 0
    for (name, field), comment in COMMENTS.items():
        if name == "Entry":
            continue
        rule, bounds = RULES[name].fields[field], bounds_in(comment)
        if "Required." in comment:
            assert rule.required, (name, field)
        elif rule.required:
            at_least_one = "At least 1." in comment or "; 1 to " in comment
            assert at_least_one or (name, field) == ("Digest", "algorithm"), (name, field)
        if bounds is not None:
            assert bounds[1] in (rule.most, rule.max_elements), (name, field)
            assert bounds[0] < bounds[1] or rule.least == rule.most, (name, field)
            compared += 1
    assert compared > 60
