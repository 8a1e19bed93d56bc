"""Entries, decoded by hand and strictly: one encoding of each message, with every limit of entry.proto."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Fields = dict[str, Any]
MOST_ENTRY_BYTES, MOST_SEAL_BYTES, MOST_BATCH_ENTRIES, MOST_BATCH_BYTES = 65_535, 32_000, 16_384, 4_194_304
KINDS = {
    1: "prediction", 2: "seal", 3: "artifact", 4: "run", 5: "deployment", 6: "attestation", 8: "genesis", 9: "block",
    10: "producer_registered", 11: "producer_retired", 12: "producer_compromised", 13: "conflict", 14: "removal",
    15: "ledger_key",
}  # fmt: skip
PRODUCER_KINDS = frozenset({"prediction", "artifact", "run", "deployment", "attestation"})
DIGEST_BYTES = {1: 32, 2: 64, 3: 20, 4: 16, 5: 4}
ARTIFACT_CODE, SHA256, SHA1 = 2, 1, 3

# One message a block: its name, then "number name type", for numbers the least and the greatest value, for bytes and
# strings the least and the greatest length ("32" is both), "!" if the field is required, "*n" if it is repeated at
# most n times. "bytes:X" are bytes that are themselves a strictly encoded X.
MESSAGES = """
prediction
 1 binding_row uint32 1..255 !
 2 request_id bytes 1..64
 3 input_commitment bytes 32 !
 4 output_commitment bytes 32
 5 start_time_unix_ns fixed64 !
 6 duration_us fixed32
 7 status_code uint32 1..16
seal
 1 body bytes:SealBody !
 2 signature bytes 64 !
SealBody
 1 public_key bytes 32 !
 2 chain_id bytes 16 !
 3 batch_sequence uint64
 4 first_number uint64
 5 count uint32 0..16384
 6 root bytes 32 !
 7 previous_seal_hash bytes 32
 8 earliest_start_time_unix_ns fixed64
 9 latest_start_time_unix_ns fixed64
 10 sealed_time_unix_ns fixed64 !
 11 lost Range *512
 12 bindings Binding *255
 13 chain_nonce bytes 32
 14 predecessor Predecessor
 15 closing bool
Range
 1 first uint64
 2 count uint64 !
Binding
 1 deployment_hash bytes 32 !
 2 count uint32
Predecessor
 1 chain_id bytes 16 !
 2 next_number uint64
Digest
 1 algorithm enum 1..5 !
 2 value bytes 4..64 !
 3 sampled bool
artifact
 1 kind enum 1..5 !
 2 digest Digest !
 3 name string 1..255 !
 4 version string 0..255
 5 uri string 0..2048
 6 size_bytes uint64
 7 media_type string 0..255
 8 files File *1024
 9 code Code
 10 attributes Attribute *1024
 11 created_time_unix_ns fixed64
File
 1 path string 1..1024 !
 2 size_bytes uint64
 3 digest Digest !
Code
 1 repository string 0..2048
 2 commit Digest !
 3 branch string 0..255
 4 dirty bool
 5 diff Digest
Attribute
 1 name string 1..255 !
 2 value string 0..4096
run
 1 kind enum 1..5 !
 2 run_id string 0..255
 3 name string 1..255 !
 4 inputs ArtifactReference *1024
 5 outputs ArtifactReference *1024
 6 parameters Attribute *1024
 7 code Digest
 8 environment Digest
 9 start_time_unix_ns fixed64
 10 end_time_unix_ns fixed64
 11 metrics Attribute *1024
 12 command string 0..4096
ArtifactReference
 1 digest Digest !
 2 role string 0..255
deployment
 1 name string 1..255 !
 2 model Digest !
 3 configuration Digest
 4 image Digest
 5 server string 0..255
 6 endpoint string 0..2048
 7 valid_from_unix_ns fixed64
 8 valid_until_unix_ns fixed64
 9 code Digest
 10 environment Digest
 11 attributes Attribute *1024
attestation
 1 body bytes:AttestationBody !
 2 signature bytes 64
AttestationBody
 1 subject Digest !
 2 predicate_type string 1..255 !
 3 predicate bytes 0..32768
 4 attester string 0..255
 5 public_key bytes 32
 6 time_unix_ns fixed64 !
genesis
 1 format_version uint32 1..1 !
 2 origin string 1..255 !
 3 ledger_public_key bytes 32 !
 4 admin_public_keys bytes 32 ! *16
 5 time_unix_ns fixed64 !
block
 1 number uint64 !
 2 time_unix_ns fixed64 !
 3 previous_block_hash bytes 32 !
producer_registered
 1 body bytes:ProducerRegistration !
 2 possession_signature bytes 64 !
 3 admin_public_key bytes 32 !
 4 admin_signature bytes 64 !
ProducerRegistration
 1 public_key bytes 32 !
 2 name string 1..255 !
 3 time_unix_ns fixed64 !
producer_retired
 1 body bytes:ProducerRetirement !
 2 admin_public_key bytes 32 !
 3 admin_signature bytes 64 !
ProducerRetirement
 1 public_key bytes 32 !
 2 last_block uint64 !
 3 time_unix_ns fixed64 !
producer_compromised
 1 body bytes:ProducerCompromise !
 2 admin_public_key bytes 32 !
 3 admin_signature bytes 64 !
ProducerCompromise
 1 public_key bytes 32 !
 2 suspect_since_unix_ns fixed64 !
 3 time_unix_ns fixed64 !
conflict
 1 first_seal bytes 1..32000 !
 2 second_seal bytes 1..32000 !
removal
 1 body bytes:RemovalBody !
 2 admin_public_key bytes 32 !
 3 admin_signature bytes 64 !
RemovalBody
 1 policy string 1..255 !
 2 ranges Range ! *1024
 3 time_unix_ns fixed64 !
ledger_key
 1 body bytes:LedgerKeyChange !
 2 old_signature bytes 64 !
 3 new_signature bytes 64 !
 4 admin_public_key bytes 32 !
 5 admin_signature bytes 64 !
LedgerKeyChange
 1 old_public_key bytes 32 !
 2 new_public_key bytes 32 !
 3 time_unix_ns fixed64 !
"""
VARINTS = {"uint32": (1 << 32) - 1, "uint64": (1 << 64) - 1, "bool": 1, "enum": 0}  # the greatest value
FIXED = {"fixed64": (1, 8), "fixed32": (5, 4)}  # wire type and length


class RefusedError(ValueError):
    """An entry that is not encoded as the ledger encodes; says at which field."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    least: int
    most: int
    required: bool
    repeated: int  # at most so many elements; 0: not a repeated field
    inner: str  # the message that bytes carry

    @property
    def wire_type(self) -> int:
        return 0 if self.type in VARINTS else FIXED[self.type][0] if self.type in FIXED else 2


def _read_schema() -> dict[str, dict[int, Field]]:
    schema: dict[str, dict[int, Field]] = {}
    fields: dict[int, Field] = {}
    for line in MESSAGES.strip().splitlines():
        if not line.startswith(" "):
            fields = schema[line] = {}
            continue
        number, name, kind, *rest = line.split()
        kind, _, inner = kind.partition(":")
        least, most, repeated = 0, VARINTS.get(kind, MOST_ENTRY_BYTES), 0
        for word in rest:
            if word.startswith("*"):
                repeated = int(word[1:])
            elif word != "!":
                low, _, high = word.partition("..")
                least, most = int(low), int(high or low)
        fields[int(number)] = Field(name, kind, least, most, "!" in rest, repeated, inner)
    return schema


SCHEMA = _read_schema()


@dataclass(frozen=True)
class Entry:
    kind: str
    fields: Fields  # those present
    body: Fields  # of the message in the field `body`, if the kind has one


def split_packed(data: bytes) -> Iterator[bytes]:
    """The entries of packed bytes: each has its length before it, as u16be."""
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 2])
        position += 2
        if position > len(data) or length == 0 or position + length > len(data):
            raise RefusedError("packed", "an entry is empty or cut off")
        yield data[position : position + length]
        position += length


def decode_entry(data: bytes) -> Entry:
    if not 1 <= len(data) <= MOST_ENTRY_BYTES:
        raise RefusedError("entry", "not 1 to 65,535 bytes")
    kind = KINDS.get(data[0] >> 3)
    if kind is None or data[0] & 7 != 2:
        raise RefusedError("entry", "no kind that is known")
    length, position = _varint(data, 1, "entry")
    if length != len(data) - position:
        raise RefusedError("entry", "the length is not that of the rest")
    if kind == "seal" and len(data) > MOST_SEAL_BYTES:
        raise RefusedError("seal", "more than 32,000 bytes")
    fields = _message(kind, data[position:], kind)
    return Entry(kind, fields, fields.pop("body fields", {}))


def _varint(data: bytes, position: int, path: str) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if position + place >= len(data):
            raise RefusedError(path, "a varint is cut off")
        byte = data[position + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if (byte == 0 and place) or value >= 1 << 64:
                raise RefusedError(path, "a varint is not minimal or too great")
            return value, position + place + 1
    raise RefusedError(path, "a varint is too long")


def _message(name: str, data: bytes, path: str) -> Fields:
    fields: Fields = {}
    position = before = 0
    while position < len(data):
        tag, position = _varint(data, position, path)
        field = SCHEMA[name].get(tag >> 3)
        if field is None or tag & 7 != field.wire_type:
            raise RefusedError(path, f"unknown field {tag >> 3} or wrong wire type")
        where = f"{path}.{field.name}"
        if tag >> 3 < before or (tag >> 3 == before and not field.repeated):
            raise RefusedError(where, "fields out of order, or a field twice")
        before = tag >> 3
        value, position = _value(field, data, position, where, fields)
        if field.repeated:
            elements = fields.setdefault(field.name, [])
            elements.append(value)
            if len(elements) > field.repeated:
                raise RefusedError(where, "too many elements")
        else:
            fields[field.name] = value
    for field in SCHEMA[name].values():
        if field.required and field.name not in fields:
            raise RefusedError(f"{path}.{field.name}", "missing")
    if name in RULES:
        RULES[name](fields, path)
    return fields


def _value(field: Field, data: bytes, position: int, where: str, fields: Fields) -> tuple[Any, int]:
    if field.type in VARINTS:
        number, position = _varint(data, position, where)
        if not max(field.least, 1) <= number <= field.most:
            raise RefusedError(where, "a default written out, or outside the limits")
        return (True if field.type == "bool" else number), position
    length = FIXED[field.type][1] if field.type in FIXED else 0
    if not length:
        length, position = _varint(data, position, where)
    value, position = data[position : position + length], position + length
    if position > len(data) or not value:
        raise RefusedError(where, "cut off, or empty")
    if field.type in FIXED:
        if not any(value):
            raise RefusedError(where, "a default written out")
        return int.from_bytes(value, "little"), position
    if field.type not in ("bytes", "string"):
        return _message(field.type, value, where), position
    if not field.least <= length <= field.most:
        raise RefusedError(where, "a length outside the limits")
    if field.inner:
        fields["body fields"] = _message(field.inner, value, where)
    if field.type == "bytes":
        return value, position
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise RefusedError(where, "not UTF-8") from None
    if "\0" in text:
        raise RefusedError(where, "holds U+0000")
    return text, position


def _need(holds: bool, path: str, why: str) -> None:
    if not holds:
        raise RefusedError(path, why)


def _ascending(values: list[bytes], path: str) -> None:
    _need(all(a < b for a, b in pairwise(values)), path, "not strictly ascending")


def _names(fields: Fields, name: str, path: str) -> None:
    _ascending([attribute["name"].encode() for attribute in fields.get(name, [])], f"{path}.{name}")


def _ranges(ranges: list[Fields], path: str) -> None:
    end = -1
    for one in ranges:
        first = one.get("first", 0)
        _need(first > end, path, "ranges out of order, overlapping or touching")
        end = first + one["count"]
        _need(end < 1 << 64, path, "a range ends above 2^64 - 1")


def _prediction(fields: Fields, path: str) -> None:
    _need("status_code" in fields or "output_commitment" in fields, path, "OK without output_commitment")


def _digest(fields: Fields, path: str) -> None:
    _need(len(fields["value"]) == DIGEST_BYTES[fields["algorithm"]], path, "value has not its algorithm's length")


def is_relative_path(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _file(fields: Fields, path: str) -> None:
    _need(is_relative_path(fields["path"]), path, "not a relative path")
    _need(not set("\n\r\\") & set(fields["path"]), path, "a newline, carriage return or backslash")


def _code(fields: Fields, path: str) -> None:
    _need(fields["commit"]["algorithm"] in (SHA1, SHA256), f"{path}.commit", "neither SHA-1 nor SHA-256")
    _need(("diff" in fields) == ("dirty" in fields), f"{path}.diff", "diff without dirty or dirty without diff")


def _artifact(fields: Fields, path: str) -> None:
    _need("code" not in fields or fields["kind"] == ARTIFACT_CODE, f"{path}.code", "code of an artifact of no code")
    _ascending([file["path"].encode() for file in fields.get("files", [])], f"{path}.files")
    _names(fields, "attributes", path)


def _run(fields: Fields, path: str) -> None:
    _names(fields, "parameters", path)
    _names(fields, "metrics", path)


def _deployment(fields: Fields, path: str) -> None:
    _names(fields, "attributes", path)


def _attestation(fields: Fields, path: str) -> None:
    _need(("signature" in fields) == ("public_key" in fields["body fields"]), path, "key and signature: both or none")


def _seal_body(fields: Fields, path: str) -> None:
    opening = "batch_sequence" not in fields
    _need(("chain_nonce" in fields) == opening, f"{path}.chain_nonce", "in the chain's first seal, and only there")
    _need(("previous_seal_hash" in fields) != opening, f"{path}.previous_seal_hash", "in every seal but the first")
    _need(opening or "predecessor" not in fields, f"{path}.predecessor", "only in the chain's first seal")
    times = ("earliest_start_time_unix_ns" in fields) == ("latest_start_time_unix_ns" in fields)
    _need(times, path, "one time of the range without the other")
    _ranges(fields.get("lost", []), f"{path}.lost")


def _genesis(fields: Fields, path: str) -> None:
    _ascending(fields["admin_public_keys"], f"{path}.admin_public_keys")


def _conflict(fields: Fields, path: str) -> None:
    seals = {name: decode_entry(fields[name]) for name in ("first_seal", "second_seal")}
    for name, seal in seals.items():
        _need(seal.kind == "seal", f"{path}.{name}", "not a seal")
    first, second = (seal.fields["body"] for seal in seals.values())
    _need(first != second, path, "the seals have one body")


def _removal_body(fields: Fields, path: str) -> None:
    _ranges(fields["ranges"], f"{path}.ranges")


RULES: dict[str, Callable[[Fields, str], None]] = {
    "prediction": _prediction, "Digest": _digest, "File": _file, "Code": _code, "artifact": _artifact, "run": _run,
    "deployment": _deployment, "attestation": _attestation, "SealBody": _seal_body, "genesis": _genesis,
    "conflict": _conflict, "RemovalBody": _removal_body,
}  # fmt: skip
