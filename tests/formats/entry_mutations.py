"""Entries broken where it is hard to see: taken apart into fields at every depth, changed there, put together again.

Lengths are made right around what was changed, so that each fault reaches the rule that it breaks.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple, TypeAlias

from google.protobuf.message import Message

from lineage_ledger.formats.strict_rules import RULES
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats.entry_faults import varint

Value: TypeAlias = "int | bytes | Tree | Raw"

NUMBERS: Final = [
    *(
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        15,
        16,
        17,
        31,
        32,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        16_383,
        16_384,
        16_385,
        65_535,
        65_536,
    ),
    *(2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 3 * 2**63, 2**69 + 1, 2**70 - 1, 2**70 + 1),
]
LENGTHS: Final = [
    *(
        0,
        1,
        3,
        4,
        5,
        15,
        16,
        17,
        20,
        31,
        32,
        33,
        63,
        64,
        65,
        127,
        128,
        254,
        255,
        256,
        1_024,
        1_025,
        2_048,
        2_049,
        4_096,
    ),
    *(4_097, 32_000, 32_768, 32_769),
]
TEXTS: Final = [
    *(b"\0", b"a\0", b"abcdefgh\0", b"abcdefg\0h", b"\x7f", b"\x80", b"\xbf", b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf"),
    *(b"\xc2\x80", b"\xc2", b"\xc2\x7f", b"\xc2\xc0", b"\xdf\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe0\xa0\x80"),
    *(b"\xe0\xa0", b"\xe1\x80", b"\xe1\x80\x7f", b"\xe1\x80\xc0", b"\xec\xbf\xbf", b"\xed\x9f\xbf", b"\xed\xa0\x80"),
    *(b"\xed\xbf\xbf", b"\xee\x80\x80", b"\xef\xbb\xbf", b"\xef\xb7\x90", b"\xef\xbf\xbe", b"\xef\xbf\xbf"),
    *(b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf0\x90\x80\x80", b"\xf0\x90\x80", b"\xf1\x80\x80\x7f", b"\xf0\x9f"),
    *(b"\xf0\x9f\xbf\xbe", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80"),
    *(b"\xfe", b"\xff", b"\xed\xa0\xbd\xed\xb8\x80", b"\xe2\x82\xac", b"seven b\xc3\xa9", b"a/b", b"/", b"a//b", b"."),
    *(b"..", b"...", b"a/..", b"./a", b".a", b"..a", b"a/.", b"a/", b"/a", b"a\\b", b"a\nb", b"a\rb", b".\\", b"a./b."),
]
"""Every class of what is no UTF-8, its valid neighbours, and paths."""


class Tree:
    """A message as its fields: number, wire type, value."""

    def __init__(self, message: type[Message], fields: list[tuple[int, int, Value]]) -> None:
        self.message = message
        self.fields = fields

    @classmethod
    def parse(cls, message: type[Message], data: bytes) -> Tree:
        """Take a valid message apart."""
        fields: list[tuple[int, int, Value]] = []
        at = 0
        while at < len(data):
            tag, at = _varint(data, at)
            number, wire_type = tag >> 3, tag & 7
            value: Value
            if wire_type in (1, 5):
                size = 8 if wire_type == 1 else 4
                value, at = int.from_bytes(data[at : at + size], "little"), at + size
            else:
                value, at = _varint(data, at)
            if wire_type == 2:
                assert isinstance(value, int)
                content, at = data[at : at + value], at + value
                inner = held(message, number)
                value = content if inner is None else cls.parse(inner, content)
            fields.append((number, wire_type, value))
        return cls(message, fields)

    def encode(self) -> bytes:
        """Written as it stands, lengths and varints minimal."""
        return b"".join(encode_field(*field) for field in self.fields)

    def trees(self) -> list[Tree]:
        """This message and all within."""
        inner = [tree for _, _, value in self.fields if isinstance(value, Tree) for tree in value.trees()]
        return [self, *inner]


class Raw(NamedTuple):
    """Bytes that stand for a whole field."""

    data: bytes


def held(message: type[Message], number: int) -> type[Message] | None:
    """The message that a field is or carries."""
    field = message.DESCRIPTOR.fields_by_number[number]
    if field.message_type is not None:
        name: str | None = field.message_type.name
    else:
        name = RULES[message.DESCRIPTOR.name].fields[field.name].carries
    return getattr(pb, name) if name else None


def encode_field(number: int, wire_type: int, value: Value, pad: str = "") -> bytes:
    """One field; `pad` names a varint that is not minimal: tag or value."""
    if isinstance(value, Raw):
        return value.data
    tag = varint(number << 3 | wire_type)
    if pad == "tag":
        tag = _padded(tag)
    if isinstance(value, Tree):
        value = value.encode()
    if isinstance(value, bytes):
        length = varint(len(value))
        return tag + (_padded(length) if pad == "value" else length) + value
    if wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
        return tag + (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    return tag + (_padded(varint(value)) if pad == "value" else varint(value))


def mutate(entry: bytes, random: Random) -> bytes:
    """The entry with one to three changes; it may be valid still."""
    tree = Tree.parse(pb.Entry, entry)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random.choice(tree.trees()), random)
    data = tree.encode()
    if random.random() < 0.2:
        data = _change_bytes(data, random)
    return data


def _change(tree: Tree, random: Random) -> None:
    fields = tree.fields
    if not fields:
        return
    at = random.randrange(len(fields))
    number, wire_type, value = fields[at]
    if isinstance(value, Raw):
        return
    match random.randrange(12):
        case 0:
            fields.insert(random.randrange(len(fields) + 1), fields.pop(at))
        case 1:
            del fields[at]
        case 2:
            fields.insert(at, fields[at])
        case 3:
            fields[at] = number, random.randrange(8), value
        case 4:
            fields[at] = random.choice((0, 7, number + 1, number - 1, 16, 63, 64, 100, 2**29 - 1)), wire_type, value
        case 5:
            fields[at] = number, wire_type, Raw(encode_field(number, wire_type, value, random.choice(("tag", "value"))))
        case 6:
            fields.append(_any_field(tree.message, random))
            if random.random() < 0.8:
                fields.sort(key=lambda field: field[0])
        case 7 if wire_type == 2:
            fields[at] = number, wire_type, random.choice(TEXTS)
        case 8 if not isinstance(value, int):
            content = value.encode() if isinstance(value, Tree) else value
            fields[at] = number, wire_type, (content or b"a").ljust(5_000, b"b")[: random.choice(LENGTHS)]
        case 9 if isinstance(value, Tree):
            fields[at] = number, wire_type, _change_bytes(value.encode(), random)
        case 10 if isinstance(value, bytes):
            text = bytearray(value or b"a")
            place = random.randrange(len(text) + 1)
            fields[at] = number, wire_type, bytes(text[:place] + random.choice(TEXTS) + text[place:])
        case _:
            if isinstance(value, int):
                fields[at] = number, wire_type, random.choice((value + 1, max(0, value - 1), random.choice(NUMBERS)))
            else:
                fits = 65_535 // len(encode_field(*fields[at]))  # what is longer than an entry tells nothing
                fields[at : at + 1] = [fields[at]] * min(fits, random.choice((2, 3, 256, 257, 513, 1_025)))


def _any_field(message: type[Message], random: Random) -> tuple[int, int, Value]:
    fields = message.DESCRIPTOR.fields_by_number
    field = fields[random.choice(list(fields))]
    if field.message_type is not None or field.type in (field.TYPE_BYTES, field.TYPE_STRING):
        return field.number, 2, random.choice(TEXTS) if random.random() < 0.5 else bytes(random.choice(LENGTHS))
    wire_type = {field.TYPE_FIXED64: 1, field.TYPE_FIXED32: 5}.get(field.type, 0)
    return field.number, wire_type, random.choice(NUMBERS)


def _change_bytes(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    match random.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data + random.randbytes(random.randrange(1, 12))
        case 2:
            return data[:at] + random.randbytes(random.randrange(1, 4)) + data[at:]
        case 3:
            return data[:at] + data[at + random.randrange(1, 4) :]
        case 4:
            return data[:at] + bytes([0x80 | random.randrange(128)] * random.randrange(1, 12)) + data[at:]
        case _:
            return (
                bytes(data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]) if data[at:] else b""
            )


def _padded(encoded: bytes) -> bytes:
    return encoded[:-1] + bytes([encoded[-1] | 0x80, 0])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
