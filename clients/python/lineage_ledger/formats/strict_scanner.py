"""The strict encoding, read field by field in Python: says what is wrong with an entry, at which byte.

Goes by the descriptors for the wire form and by `strict_rules` for the values. Where there is no C kernel this is what
decides; where there is one it explains what that refused. It is linear in the entry's length, and as deep as the
contract nests, never as deep as the input does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf import descriptor_pb2

from lineage_ledger.formats.strict_checks import Fields, refuse
from lineage_ledger.formats.strict_rules import ANY, MAX_ENTRY_BYTES, RULES, MessageRules, Rule
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SEAL_KIND: Final = frozenset({entry_pb2.Entry.SEAL_FIELD_NUMBER})
"""What the bytes that carry an entry may be."""

_WIRE_NAMES: Final = ("varint", "64-bit", "length-delimited", "group", "end of group", "32-bit", "unknown", "unknown")
_ALL_KINDS: Final = frozenset(range(1, 16))

_FieldType = descriptor_pb2.FieldDescriptorProto
_WIRE_TYPES: Final = {
    _FieldType.TYPE_UINT32: VARINT,
    _FieldType.TYPE_UINT64: VARINT,
    _FieldType.TYPE_ENUM: VARINT,
    _FieldType.TYPE_BOOL: VARINT,
    _FieldType.TYPE_FIXED64: FIXED64,
    _FieldType.TYPE_FIXED32: FIXED32,
    _FieldType.TYPE_BYTES: BYTES,
    _FieldType.TYPE_STRING: BYTES,
    _FieldType.TYPE_MESSAGE: BYTES,
}


class Field(NamedTuple):
    """One field: what its descriptor and its rule say."""

    number: int
    name: str
    wire_type: int
    most: int
    """Greatest value of a varint."""
    enum: frozenset[int] | None
    is_text: bool
    message: str | None
    """Name of the message that the field is or carries."""
    repeated: bool
    rule: Rule


class Plan(NamedTuple):
    """One message's fields by number, and what it must have."""

    fields: dict[int, Field]
    required: tuple[str, ...]
    rules: MessageRules


def scan_message(name: str, data: bytes) -> None:
    """Check that `data` is a strictly encoded message `name` of `entry.proto`, of at most 65,535 bytes; an entry has 1.

    Raises `MalformedEntryError`, whose text names the field's path and whose `offset` is the byte in `data`.
    """
    if name == "Entry" and not 1 <= len(data) <= MAX_ENTRY_BYTES:
        refuse("", 0, f"is {len(data)} bytes; it must be 1 to {MAX_ENTRY_BYTES:,}")
    if len(data) > MAX_ENTRY_BYTES:
        refuse("", 0, f"is {len(data)} bytes; what an entry holds is at most {MAX_ENTRY_BYTES:,}")
    if name == "Entry":
        _scan_entry(data, 0, len(data), "", _ALL_KINDS)
    else:
        _scan(PLANS[name], data, 0, len(data), "")


def _scan_entry(data: bytes, start: int, end: int, path: str, kinds: frozenset[int]) -> Fields:
    """Check the one field of an entry: its kind, and that its length is the rest."""
    field = PLANS["Entry"].fields.get(data[start] >> 3) if data[start] < 0x80 else None
    if field is None or data[start] & 7 != BYTES:
        refuse(path, start, f"begins with 0x{data[start]:02x}, which is no kind of entry that this version knows")
    if field.number not in kinds:
        refuse(path, start, f"is a {field.name}; it must be a seal")
    length, value = _varint(data, start + 1, end, path)
    if length != end - value:
        refuse(path, start + 1, f"says {length} bytes follow, {end - value} do; an entry is one field and nothing else")
    return _scan(PLANS["Entry"], data, start, end, path)


def _scan(plan: Plan, data: bytes, start: int, end: int, path: str) -> Fields:
    """Check the message `data[start:end]` at `path`: each field as it comes, then what spans fields."""
    found = Fields(path, data, start, end)
    at, last = start, 0
    while at < end:
        tag_at = at
        tag, at = _varint(data, at, end, path)
        number = tag >> 3
        field = plan.fields.get(number)
        if field is None:
            refuse(path, tag_at, f"has an unknown field {number}")
        field_path = f"{path}.{field.name}" if path else field.name
        if tag & 7 != field.wire_type:
            problem = f"has wire type {_WIRE_NAMES[tag & 7]}; it must be {_WIRE_NAMES[field.wire_type]}"
            refuse(field_path, tag_at, problem)
        if number < last or (number == last and not field.repeated):
            problem = "comes twice" if number == last else f"comes after field {last}"
            refuse(field_path, tag_at, f"{problem}; fields are written once, in ascending order")
        last = number
        values = found.values.setdefault(field.name, [])
        if field.repeated:
            field_path = f"{field_path}[{len(values)}]"
            if len(values) == field.rule.max_elements:
                refuse(field_path, tag_at, f"is one too many; at most {field.rule.max_elements:,} are allowed")
        value, at = _value(field, data, at, end, field_path)
        _check_order(field, values, value, tag_at, field_path)
        values.append(value)
        found.offsets.setdefault(field.name, []).append(tag_at)
    for name in plan.required:
        if name not in found:
            found.refuse(name, "is missing; it is required")
    for check in plan.rules.across:
        check(found)
    return found


def _value(field: Field, data: bytes, at: int, end: int, path: str) -> tuple[int | bytes | Fields, int]:
    """Read and check the value at `at`; returns it and where it ends."""
    if field.wire_type == BYTES:
        length, start = _varint(data, at, end, path)
        if length > end - start:
            refuse(path, at, f"is said to be {length} bytes, {end - start} are left")
        return _content(field, data, start, start + length, path), start + length
    if field.wire_type == VARINT:
        number, after = _varint(data, at, end, path)
    else:
        after = at + (8 if field.wire_type == FIXED64 else 4)
        if after > end:
            refuse(path, at, f"is {after - at} bytes, {end - at} are left")
        number = int.from_bytes(data[at:after], "little")
    if number == 0:
        refuse(path, at, "is 0, the default; a default is not written")
    if number > field.most:
        refuse(path, at, f"is {number}; it must be at most {field.most}")
    if field.enum is not None and number not in field.enum:
        refuse(path, at, f"is {number}, which is no known value; known are {sorted(field.enum)}")
    if not field.rule.least <= number <= field.rule.most:
        refuse(path, at, f"is {number}; it must be {_bounds(field.rule)}")
    return number, after


def _content(field: Field, data: bytes, start: int, end: int, path: str) -> bytes | Fields:
    """Check the content of a length-delimited field."""
    if start == end:
        refuse(path, start, "is empty, the default; a default is not written")
    if not field.rule.least <= end - start <= field.rule.most:
        refuse(path, start, f"is {end - start} bytes; it must be {_bounds(field.rule)}")
    if field.message == "Entry":
        return _scan_entry(data, start, end, path, SEAL_KIND)
    if field.message is not None:
        return _scan(PLANS[field.message], data, start, end, path)
    content = data[start:end]
    if field.is_text:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            refuse(path, start + error.start, f"is not valid UTF-8 ({error.reason})")
        if 0 in content:
            refuse(path, start + content.index(0), "holds U+0000; text must not")
    return content


def _check_order(
    field: Field, before: list[int | bytes | Fields], value: int | bytes | Fields, offset: int, path: str
) -> None:
    """Elements that must ascend do."""
    key = field.rule.ascending_by
    if key is None or not before:
        return
    previous, current = (item.raw(key) if isinstance(item, Fields) else item for item in (before[-1], value))
    assert isinstance(previous, bytes)
    assert isinstance(current, bytes)
    if current <= previous:
        by = f" by {key}" if key else ""
        refuse(path, offset, f"is not above the element before it; elements ascend strictly{by}, compared as bytes")


def _varint(data: bytes, at: int, end: int, path: str) -> tuple[int, int]:
    """Read a minimal varint below 2^64; returns it and where it ends."""
    value = 0
    for place in range(min(10, end - at)):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if byte == 0 and place:
                refuse(path, at, f"has a varint of {place + 1} bytes for {value}; it must be minimal")
            if value >> 64:
                refuse(path, at, f"has the varint {value}; it must be below 2^64")
            return value, at + place + 1
    return refuse(path, at, "has a varint without an end; it ends within 10 bytes and within its message")


def _bounds(rule: Rule) -> str:
    return str(rule.least) if rule.least == rule.most else f"{rule.least} to {rule.most:,}"


def _plans() -> dict[str, Plan]:
    """Join descriptors and rules. A field without a rule, or a rule without a field, is a `KeyError` at import."""
    file = descriptor_pb2.FileDescriptorProto()
    entry_pb2.DESCRIPTOR.CopyToProto(file)
    enums = {enum.name: frozenset(value.number for value in enum.value) - {0} for enum in file.enum_type}
    plans = {}
    for message in file.message_type:
        rules = RULES[message.name]
        if rules.fields.keys() - {field.name for field in message.field}:
            raise KeyError(f"{message.name} has rules for fields that it does not have")
        fields = {field.number: _field(field, message.name, rules, enums) for field in message.field}
        required = tuple(field.name for field in fields.values() if field.rule.required)
        plans[message.name] = Plan(fields, required, rules)
    return plans


def _field(
    field: descriptor_pb2.FieldDescriptorProto, message: str, rules: MessageRules, enums: dict[str, frozenset[int]]
) -> Field:
    rule = ANY if message == "Entry" else rules.fields[field.name]
    type_name = field.type_name.rpartition(".")[2]
    most = {_FieldType.TYPE_UINT32: (1 << 32) - 1, _FieldType.TYPE_BOOL: 1}.get(field.type, (1 << 64) - 1)
    return Field(
        number=field.number,
        name=field.name,
        wire_type=_WIRE_TYPES[field.type],
        most=most,
        enum=enums[type_name] if field.type == _FieldType.TYPE_ENUM else None,
        is_text=field.type == _FieldType.TYPE_STRING,
        message=type_name if field.type == _FieldType.TYPE_MESSAGE else rule.carries,
        repeated=field.label == _FieldType.LABEL_REPEATED,
        rule=rule,
    )


PLANS: Final[Mapping[str, Plan]] = _plans()
"""By the name of the message."""
