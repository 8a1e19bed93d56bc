"""Any entry as plain data, for people and programs.

The form is stable: `{"kind": ..., "leaf_hash": hex, <kind>: {fields}}`, names as in `entry.proto`. Bytes are
lower-case hex, digests their text, times RFC 3339 in UTC with nanoseconds, enum values their lower-case names, and
`body` the message that it carries. Whole numbers, booleans and lists are always there; any other field that is absent
is left out. Text is as it was logged: whoever prints it to a terminal removes control characters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

from lineage_ledger.formats.digest import format_digest
from lineage_ledger.formats.merkle import leaf_hash
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger.formats.strict_rules import RULES
from lineage_ledger.v1 import entry_pb2

_NS_PER_S: Final = 1_000_000_000
_FieldType = descriptor_pb2.FieldDescriptorProto
_ALWAYS: Final = (_FieldType.TYPE_UINT32, _FieldType.TYPE_UINT64, _FieldType.TYPE_BOOL)


def describe(entry: bytes) -> dict[str, Any]:
    """The entry as plain data that `json.dumps` takes. Raises `MalformedEntryError` unless it is strictly encoded."""
    parsed = parse_entry(entry)
    kind = parsed.WhichOneof("kind")
    assert kind is not None  # parse_entry made sure of it.
    return {"kind": kind, "leaf_hash": leaf_hash(entry).hex(), kind: describe_message(getattr(parsed, kind))}


def describe_message(message: Message) -> dict[str, Any]:
    """A message of `entry.proto` as plain data."""
    described = {}
    for field in _FIELDS[message.DESCRIPTOR.name]:
        value = getattr(message, field.name)
        if field.label == _FieldType.LABEL_REPEATED:
            described[field.name] = [_describe_value(message, field, element) for element in value]
        elif field.type in _ALWAYS or (
            message.HasField(field.name) if field.type == _FieldType.TYPE_MESSAGE else bool(value)
        ):
            described[field.name] = _describe_value(message, field, value)
    return described


def format_time(time_unix_ns: int) -> str:
    """Nanoseconds since the Unix epoch as RFC 3339 in UTC, such as "2026-03-01T12:00:00.000000001Z"."""
    seconds, nanoseconds = divmod(time_unix_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def _describe_value(message: Message, field: descriptor_pb2.FieldDescriptorProto, value: Any) -> Any:
    if isinstance(value, entry_pb2.Digest):
        return format_digest(value)
    if isinstance(value, Message):
        return describe_message(value)
    carried = RULES[message.DESCRIPTOR.name].fields[field.name].carries
    if carried == "Entry":
        return describe(value)
    if carried is not None:
        return describe_message(getattr(entry_pb2, carried).FromString(value))
    if isinstance(value, bytes):
        return value.hex()
    if field.type == _FieldType.TYPE_FIXED64:  # Every fixed64 of the contract is a time.
        return format_time(value)
    if field.type == _FieldType.TYPE_ENUM:
        enum = field.type_name.rpartition(".")[2]
        return _ENUM_NAMES[enum][value]
    return value


_FILE: Final = descriptor_pb2.FileDescriptorProto()
entry_pb2.DESCRIPTOR.CopyToProto(_FILE)
_FIELDS: Final = {message.name: tuple(message.field) for message in _FILE.message_type}
# "ARTIFACT_KIND_MODEL" is "model": the names of a file's enum values begin with their enum's own.
_ENUM_NAMES: Final = {
    enum.name: {
        value.number: value.name.removeprefix(enum.value[0].name.removesuffix("UNSPECIFIED")).lower()
        for value in enum.value
    }
    for enum in _FILE.enum_type
}
