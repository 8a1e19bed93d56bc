"""What the strict encoding refuses, for every kind: each valid example, broken in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples

BODIES: dict[str, type[Message]] = {
    "seal": pb.SealBody,
    "attestation": pb.AttestationBody,
    "producer_registered": pb.ProducerRegistration,
    "producer_retired": pb.ProducerRetirement,
    "producer_compromised": pb.ProducerCompromise,
    "removal": pb.RemovalBody,
    "ledger_key": pb.LedgerKeyChange,
}
"""What the field `body` of a kind carries."""


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def framed(kind: str, content: bytes) -> bytes:
    number = pb.Entry.DESCRIPTOR.fields_by_name[kind].number
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields_of(message: bytes) -> list[bytes]:
    """The message cut into its fields, each with its one-byte tag."""
    fields, at = [], 0
    while at < len(message):
        start, wire_type, at = at, message[at] & 7, at + 1
        length, shift = 0, 0
        if wire_type in (1, 5):
            at += 8 if wire_type == 1 else 4
        else:
            while True:
                byte, at = message[at], at + 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            at += length if wire_type == 2 else 0
        fields.append(message[start:at])
    return fields


def wire_faults(message: bytes, message_type: type[Message]) -> Iterator[tuple[str, bytes]]:
    """What no message may look like, made from one with two singular fields or more."""
    fields = fields_of(message)
    first, rest = fields[0], b"".join(fields[1:])
    known = {field.number: field for field in message_type.DESCRIPTOR.fields}
    singular = next(i for i in range(1, len(fields)) if fields[i][0] != fields[i - 1][0])
    yield "no field at all", b""
    yield "cut off by one byte", message[:-1]
    yield "a zero byte behind the last field", message + b"\0"
    yield "first field twice", first + message
    yield "last field first", fields[-1] + b"".join(fields[:-1])
    yield (
        "two fields in the wrong order",
        b"".join([*fields[: singular - 1], fields[singular], fields[singular - 1], *fields[singular + 1 :]]),
    )
    yield "tag in two bytes", bytes([first[0] | 0x80, 0]) + first[1:] + rest
    yield "unknown field 100, a varint", message + varint(100 << 3) + b"\1"
    yield "unknown field 100, bytes", message + varint(100 << 3 | 2) + b"\1a"
    yield "field number 0", message + b"\0\1"
    yield "greatest field number", message + varint((2**29 - 1) << 3) + b"\1"
    yield "an empty group", message + bytes([(first[0] & ~7) | 3, (first[0] & ~7) | 4])
    yield "end of a group", message + bytes([(first[0] & ~7) | 4])
    yield "wire type 6", bytes([(first[0] & ~7) | 6]) + first[1:] + rest
    yield "first field as 32 bits", bytes([(first[0] & ~7) | 5]) + b"\1\2\3\4" + rest
    if first[0] & 7 == 2:
        yield "first field's length not minimal", first[:1] + bytes([first[1] | 0x80, 0]) + first[2:] + rest
        yield "first field longer than what is left", first[:1] + varint(len(message)) + message[2:]
        yield "first field with a length of 2^63", first[:1] + varint(2**63) + message[2:]
        yield "first field with a length of 11 bytes", first[:1] + b"\xff" * 10 + b"\1" + message[2:]
        yield "first field as a varint", bytes([first[0] & ~7]) + b"\1" + rest
    else:
        yield "first field not minimal", first[:-1] + bytes([first[-1] | 0x80, 0]) + rest
        yield "first field as bytes", bytes([first[0] | 2]) + b"\1a" + rest
    present = {field[0] >> 3 for field in fields}
    for number, field in known.items():
        wire_type = {
            field.TYPE_FIXED64: 1,
            field.TYPE_FIXED32: 5,
            field.TYPE_BYTES: 2,
            field.TYPE_STRING: 2,
            field.TYPE_MESSAGE: 2,
        }.get(field.type, 0)
        default = bytes([number << 3 | wire_type]) + {0: b"\0", 1: bytes(8), 5: bytes(4), 2: b"\0"}[wire_type]
        before = b"".join(other for other in fields if other[0] >> 3 < number)
        after = b"".join(other for other in fields if other[0] >> 3 > number)
        yield f"{field.name} written out as its default", before + default + after
        over = {field.TYPE_UINT32: 2**32, field.TYPE_BOOL: 2}.get(field.type)
        if over:
            yield f"{field.name} of {over}", before + bytes([number << 3]) + varint(over) + after
        if number in present and wire_type == 0:
            yield f"{field.name} of 2^64", before + bytes([number << 3]) + b"\x80" * 9 + b"\2" + after
            not_minimal = next(other for other in fields if other[0] >> 3 == number)
            yield f"{field.name} not minimal", before + not_minimal[:-1] + bytes([not_minimal[-1] | 0x80, 0]) + after


Change = Callable[[Any], object]


def set_(**values: object) -> Change:
    """Set or, with None, clear fields."""

    def change(message: Any) -> None:
        for name, value in values.items():
            if value is None:
                message.ClearField(name)
            else:
                setattr(message, name, value)

    return change


def digest(name: str, **values: object) -> Change:
    return lambda message: set_(**values)(getattr(message, name))


# By kind, with ":body" for what it carries: name of the case, what is changed.
VALUE_FAULTS: dict[str, list[tuple[str, Change]]] = {
    "prediction": [
        ("binding_row 256", set_(binding_row=256)),
        ("binding_row missing", set_(binding_row=None)),
        ("request_id of 65 bytes", set_(request_id=b"r" * 65)),
        ("input_commitment missing", set_(input_commitment=None)),
        ("input_commitment of 31 bytes", set_(input_commitment=b"i" * 31)),
        ("input_commitment of 33 bytes", set_(input_commitment=b"i" * 33)),
        ("output_commitment missing with status OK", set_(output_commitment=None)),
        ("output_commitment of 31 bytes", set_(output_commitment=b"o" * 31)),
        ("output_commitment of 31 bytes with a status", set_(output_commitment=b"o" * 31, status_code=3)),
        ("start_time_unix_ns missing", set_(start_time_unix_ns=None)),
        ("status_code 17", set_(status_code=17)),
    ],
    "seal": [
        ("signature missing", set_(signature=None)),
        ("signature of 63 bytes", set_(signature=b"s" * 63)),
        ("body missing", set_(body=None)),
    ],
    "seal:body": [
        ("public_key of 31 bytes", set_(public_key=b"k" * 31)),
        ("chain_id of 17 bytes", set_(chain_id=b"c" * 17)),
        ("count 16385", set_(count=16_385)),
        ("root missing", set_(root=None)),
        ("no previous_seal_hash after the first", set_(previous_seal_hash=None)),
        ("previous_seal_hash in the first", set_(batch_sequence=0, chain_nonce=b"n" * 32)),
        ("no nonce in the first", set_(batch_sequence=0, previous_seal_hash=None)),
        ("a nonce after the first", set_(chain_nonce=b"n" * 32)),
        ("a predecessor after the first", lambda body: body.predecessor.CopyFrom(pb.Predecessor(chain_id=bytes(16)))),
        ("earliest time without the latest", set_(latest_start_time_unix_ns=None)),
        ("latest time without the earliest", set_(earliest_start_time_unix_ns=None)),
        ("sealed time missing", set_(sealed_time_unix_ns=None)),
        ("lost ranges out of order", lambda body: body.lost.reverse()),
        ("lost ranges that touch", lambda body: set_(first=1_005)(body.lost[1])),
        ("lost ranges that overlap", lambda body: set_(first=1_004)(body.lost[1])),
        ("a lost range of 0", lambda body: set_(count=None)(body.lost[1])),
        ("an empty lost range", lambda body: body.lost.add()),
        ("a lost range that ends at 2^64", lambda body: set_(first=2**64 - 1)(body.lost[1])),
        ("a binding without a hash", lambda body: set_(deployment_hash=None)(body.bindings[0])),
        ("an empty binding", lambda body: body.bindings.add()),
    ],
    "artifact": [
        ("kind 6", set_(kind=6)),
        ("digest missing", set_(digest=None)),
        ("digest without algorithm", digest("digest", algorithm=0)),
        ("digest with algorithm 6", digest("digest", algorithm=6)),
        ("SHA-256 of 31 bytes", digest("digest", value=b"d" * 31)),
        ("SHA-256 of 64 bytes", digest("digest", value=b"d" * 64)),
        ("name missing", set_(name=None)),
        ("name of 256 bytes", set_(name="é" * 128)),
        ("name with U+0000", set_(name="a\0b")),
        ("uri of 2049 bytes", set_(uri="u" * 2_049)),
        ("code with another kind", set_(kind=pb.ARTIFACT_KIND_MODEL)),
        (
            "commit with CRC32",
            lambda m: set_(algorithm=pb.DIGEST_ALGORITHM_CRC32, value=b"crc3")(m.code.commit),
        ),
        ("dirty without diff", lambda m: m.code.ClearField("diff")),
        ("diff without dirty", lambda m: m.code.ClearField("dirty")),
        ("code without commit", lambda m: m.code.ClearField("commit")),
        ("files out of order", lambda m: m.files.reverse()),
        ("a file twice", lambda m: m.files.append(m.files[-1])),
        ("an empty file", lambda m: m.files.add()),
        ("an absolute path", lambda m: set_(path="/a")(m.files[0])),
        ("a path that leads up", lambda m: set_(path="a/../b")(m.files[0])),
        ("a path with a dot", lambda m: set_(path="a/./b")(m.files[0])),
        ("a path with an empty part", lambda m: set_(path="a//b")(m.files[0])),
        ("a path that ends in a slash", lambda m: set_(path="a/")(m.files[0])),
        ("attributes out of order", lambda m: m.attributes.reverse()),
        ("an attribute twice", lambda m: m.attributes.append(m.attributes[-1])),
        ("an attribute without a name", lambda m: set_(name=None)(m.attributes[0])),
    ],
    "run": [
        ("kind missing", set_(kind=0)),
        ("kind 6", set_(kind=6)),
        ("name missing", set_(name=None)),
        ("an input without a digest", lambda m: m.inputs[0].ClearField("digest")),
        ("an empty output", lambda m: m.outputs.add()),
        ("parameters out of order", lambda m: m.parameters.reverse()),
        ("a metric twice", lambda m: m.metrics.append(m.metrics[0])),
        ("code's digest of 20 bytes", digest("code", value=b"d" * 20)),
    ],
    "deployment": [
        ("name missing", set_(name=None)),
        ("model missing", set_(model=None)),
        ("an empty image digest", lambda m: m.image.Clear()),
        ("endpoint with U+0000", set_(endpoint="\0")),
        ("an attribute twice", lambda m: m.attributes.append(m.attributes[0])),
    ],
    "attestation": [
        ("signature missing with a key", set_(signature=None)),
        ("signature of 65 bytes", set_(signature=b"s" * 65)),
    ],
    "attestation:body": [
        ("a signature without a key", set_(public_key=None)),
        ("subject missing", set_(subject=None)),
        ("predicate_type missing", set_(predicate_type=None)),
        ("time missing", set_(time_unix_ns=None)),
    ],
    "genesis": [
        ("format_version 2", set_(format_version=2)),
        ("origin missing", set_(origin=None)),
        ("ledger_public_key of 33 bytes", set_(ledger_public_key=b"k" * 33)),
        ("no admin", lambda m: m.ClearField("admin_public_keys")),
        ("admins out of order", lambda m: m.admin_public_keys.reverse()),
        ("an admin twice", lambda m: m.admin_public_keys.append(m.admin_public_keys[-1])),
        ("an admin key of 33 bytes", lambda m: m.admin_public_keys.insert(0, bytes(33))),
        ("an admin key of 31 bytes", lambda m: m.admin_public_keys.append(b"\xff" * 31)),
        ("17 admins", lambda m: m.admin_public_keys.extend(b"\xff" * 31 + bytes([i]) for i in range(15))),
        ("time missing", set_(time_unix_ns=None)),
    ],
    "block": [
        ("number missing", set_(number=None)),
        ("time missing", set_(time_unix_ns=None)),
        ("previous_block_hash of 31 bytes", set_(previous_block_hash=b"h" * 31)),
    ],
    "producer_registered": [("possession_signature missing", set_(possession_signature=None))],
    "producer_registered:body": [
        ("name missing", set_(name=None)),
        ("public_key of 31 bytes", set_(public_key=b"k" * 31)),
    ],
    "producer_retired": [("admin_public_key missing", set_(admin_public_key=None))],
    "producer_retired:body": [("last_block missing", set_(last_block=None))],
    "producer_compromised": [("admin_signature missing", set_(admin_signature=None))],
    "producer_compromised:body": [("suspect_since missing", set_(suspect_since_unix_ns=None))],
    "conflict": [
        ("twice the same seal", lambda m: set_(second_seal=m.first_seal)(m)),
        ("a prediction in a seal's place", set_(first_seal=examples.FULL["prediction"].SerializeToString())),
        ("a conflict within a conflict", set_(first_seal=examples.FULL["conflict"].SerializeToString())),
        ("a seal with one byte more", lambda m: set_(second_seal=m.second_seal + b"\0")(m)),
    ],
    "removal": [("admin_signature of 63 bytes", set_(admin_signature=b"s" * 63))],
    "removal:body": [
        ("no range", lambda m: m.ClearField("ranges")),
        ("ranges that touch", lambda m: set_(first=5)(m.ranges[1])),
        ("ranges out of order", lambda m: m.ranges.reverse()),
        ("a range of 0", lambda m: set_(count=None)(m.ranges[1])),
        ("policy of 256 bytes", set_(policy="p" * 256)),
    ],
    "ledger_key": [
        ("old_signature missing", set_(old_signature=None)),
        ("new_signature missing", set_(new_signature=None)),
    ],
    "ledger_key:body": [("new_public_key missing", set_(new_public_key=None))],
}


CONTRACT = Path(__file__).parents[2] / "proto/lineage_ledger/v1/entry.proto"


def commented_fields() -> Iterator[tuple[str, str, str]]:
    """(message, field, comment) of entry.proto; a field without a comment shares one above that says "each"."""
    for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", CONTRACT.read_text(), re.MULTILINE | re.DOTALL):
        for comments, fields in re.findall(r"((?:^ +//.*\n)*)((?:^ +\w.*;\n)+)", body, re.MULTILINE):
            comment = " ".join(line.strip(" /") for line in comments.splitlines())
            for place, field in enumerate(re.findall(r"(\w+) = \d+;", fields)):
                yield name, field, comment if not place or " each" in comment else ""


def bounds_in(comment: str) -> tuple[int, int] | None:
    """The bounds that a comment of entry.proto gives; equal where it gives a length."""
    found = re.search(r"(?:[Aa]t most|\b([01]) to) ([\d,]*\d)(?! - | tags)|\b(\d+) (?:random )?bytes", comment)
    if found is None or "2^32" in comment:
        return None
    most = int((found[2] or found[3]).replace(",", ""))
    return (most if found[3] else int(found[1] or 0)), most


def contract_faults(message: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """The message with each present field, at any depth, once missing and once out of the bounds of the contract."""
    for field, content in message.ListFields():
        name = f"{path}{field.name}"
        comment = COMMENTS[message.DESCRIPTOR.name, field.name]
        if isinstance(content, Message):
            for what, changed in contract_faults(content, f"{name}."):
                yield what, _with(message, field.name, changed)
        elif not isinstance(content, int | str | bytes):
            if content and isinstance(content[0], Message):
                for what, changed in contract_faults(content[0], f"{name}[0]."):
                    copy = _with(message)
                    getattr(copy, field.name)[0].CopyFrom(changed)
                    yield what, copy
            continue
        elif isinstance(content, str | bytes) and (bounds := bounds_in(comment)) and bounds[1] <= 4_096:
            unit = "!" if isinstance(content, str) else b"!"  # Below letters: what must ascend still does.
            for length in {bounds[0] - 1, bounds[1] + 1} - {-1, 0}:
                yield f"{name} of {length} bytes", _with(message, field.name, unit * length)
        if "Required." in comment:
            copy = _with(message)
            copy.ClearField(field.name)
            yield f"{name} missing", copy


def _with(message: Message, name: str = "", value: object = None) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    if isinstance(value, Message):
        getattr(copy, name).CopyFrom(value)
    elif name:
        setattr(copy, name, value)
    return copy


COMMENTS = {(message, field): comment for message, field, comment in commented_fields()}


def _body_in(kind: str, body: bytes) -> bytes:
    """The example of `kind` with another body; its signatures no longer fit, but no format rule asks that."""
    message = getattr(pb.Entry.FromString(examples.FULL[kind].SerializeToString()), kind)
    message.body = body
    return framed(kind, message.SerializeToString())


def refused(kind: str) -> dict[str, bytes]:
    """Entries of `kind` that each break one rule, by what is wrong with them."""
    return {name: entry for entry, name in {entry: name for name, entry in _refused(kind)}.items()}


def _refused(kind: str) -> Iterator[tuple[str, bytes]]:
    example = getattr(examples.FULL[kind], kind)
    content = example.SerializeToString()
    entry = framed(kind, content)
    yield "length one too small", entry[:1] + varint(len(content) - 1) + content
    yield "length one too great", entry[:1] + varint(len(content) + 1) + content
    yield "length not minimal", entry[:1] + bytes([len(content) & 0x7F | 0x80, len(content) >> 7 | 0x80, 0]) + content
    yield "two kinds", entry + framed("block", examples.block().SerializeToString())
    yield "the entry twice", entry + entry
    for name, faulty in wire_faults(content, type(example)):
        yield name, framed(kind, faulty)
    for name, faulty_message in contract_faults(example):
        yield name, framed(kind, faulty_message.SerializeToString())
    for name, change in VALUE_FAULTS[kind]:
        changed = type(example).FromString(content)
        change(changed)
        yield name, framed(kind, changed.SerializeToString())
    if kind in BODIES:
        for name, faulty in wire_faults(example.body, BODIES[kind]):
            yield f"body: {name}", _body_in(kind, faulty)
        for name, faulty_message in contract_faults(BODIES[kind].FromString(example.body)):
            yield f"body: {name}", _body_in(kind, faulty_message.SerializeToString())
        for name, change in VALUE_FAULTS[f"{kind}:body"]:
            body = BODIES[kind].FromString(example.body)
            change(body)
            yield f"body: {name}", _body_in(kind, body.SerializeToString())
    if kind == "seal":
        for name, faulty_message in contract_faults(examples.first_seal_body()):
            yield f"body, first of a chain: {name}", _body_in(kind, faulty_message.SerializeToString())
    if kind in ("artifact", "run", "deployment"):
        name = example.name.encode()
        for what, bad in (
            ("a lone continuation byte", b"\x80"),
            ("an overlong slash", b"\xc0\xaf"),
            ("a surrogate", b"\xed\xa0\x80"),
            ("a code point above U+10FFFF", b"\xf4\x90\x80\x80"),
        ):
            yield (
                f"name with {what}",
                entry.replace(b"".join([bytes([len(name)]), name]), bytes([len(name)]) + (bad + name)[: len(name)], 1),
            )
