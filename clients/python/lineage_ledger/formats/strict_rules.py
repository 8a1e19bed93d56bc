"""What values the fields of each message may have: the comments of `entry.proto` as one table.

The wire form (field order, varints, wire types, UTF-8, no defaults) follows from the descriptors, which
`strict_scanner` joins with this; here is only what they cannot say. proto/README.md, "Strict encoding", rule 6 and its
table.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.formats import strict_checks as checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lineage_ledger.formats.strict_checks import Fields

MAX_ENTRY_BYTES: Final = 65_535

_U64: Final = (1 << 64) - 1


class Rule(NamedTuple):
    """Bounds of one field: of a number its value, of bytes and text the length in bytes."""

    least: int = 0
    most: int = _U64
    required: bool = False
    max_elements: int = 0
    """Bound of a repeated field."""
    ascending_by: str | None = None
    """The elements ascend strictly by this field of theirs; "" means by themselves."""
    carries: str | None = None
    """The bytes are a message of this name, strictly encoded; an `Entry` must be a seal's."""


class MessageRules(NamedTuple):
    """A rule for each field of a message (`Entry` needs none), and the checks that span fields."""

    fields: Mapping[str, Rule]
    across: Sequence[Callable[[Fields], None]] = ()


def required(rule: Rule) -> Rule:
    """The field must be present, which for one with a default means not the default."""
    return rule._replace(required=True)


def repeated(most: int, element: Rule | None = None, *, ascending_by: str | None = None) -> Rule:
    """At most so many elements."""
    return (element or ANY)._replace(max_elements=most, ascending_by=ascending_by)


def between(least: int, most: int) -> Rule:
    """A number in [least, most], or bytes or text so long."""
    return Rule(least, most)


def exactly(length: int) -> Rule:
    """So many bytes."""
    return Rule(length, length)


def carried(message: str) -> Rule:
    """A serialised message, required."""
    return Rule(1, MAX_ENTRY_BYTES, required=True, carries=message)


ANY: Final = Rule()
LABEL: Final = between(1, 255)
URI: Final = between(1, 2_048)
KEY: Final = required(exactly(32))
HASH: Final = required(exactly(32))
SIGNATURE: Final = required(exactly(64))
TIME: Final = required(ANY)
ATTRIBUTES: Final = repeated(1_024, ascending_by="name")


_ADMIN_SIGNED: Final = {"admin_public_key": KEY, "admin_signature": SIGNATURE}

RULES: Final[Mapping[str, MessageRules]] = {
    "Entry": MessageRules({}, [checks.seal_is_small]),
    "Prediction": MessageRules(
        {
            "binding_row": required(between(1, 255)),
            "request_id": between(1, 64),
            "input_commitment": HASH,
            "output_commitment": exactly(32),
            "start_time_unix_ns": TIME,
            "duration_us": ANY,
            "status_code": between(1, 16),
        },
        [checks.output_unless_failed],
    ),
    "Seal": MessageRules({"body": carried("SealBody"), "signature": SIGNATURE}),
    "SealBody": MessageRules(
        {
            "public_key": KEY,
            "chain_id": required(exactly(16)),
            "batch_sequence": ANY,
            "first_number": ANY,
            "count": between(1, 16_384),
            "root": HASH,
            "previous_seal_hash": exactly(32),
            "earliest_start_time_unix_ns": ANY,
            "latest_start_time_unix_ns": ANY,
            "sealed_time_unix_ns": TIME,
            "lost": repeated(512),
            "bindings": repeated(255),
            "chain_nonce": exactly(32),
            "predecessor": ANY,
            "closing": ANY,
        },
        [checks.first_seal_opens, checks.both_times_or_none, partial(checks.ranges_apart, "lost")],
    ),
    "NumberRange": MessageRules({"first": ANY, "count": required(ANY)}),
    "Binding": MessageRules({"deployment_hash": HASH, "count": ANY}),
    "Predecessor": MessageRules({"chain_id": required(exactly(16)), "next_number": ANY}),
    "Digest": MessageRules(
        {"algorithm": required(ANY), "value": required(between(4, 64)), "sampled": ANY},
        [checks.digest_length],
    ),
    "Artifact": MessageRules(
        {
            "kind": required(ANY),
            "digest": required(ANY),
            "name": required(LABEL),
            "version": LABEL,
            "uri": URI,
            "size_bytes": ANY,
            "media_type": LABEL,
            "files": repeated(1_024, ascending_by="path"),
            "code": ANY,
            "attributes": ATTRIBUTES,
            "created_time_unix_ns": ANY,
        },
        [checks.code_only_for_code],
    ),
    "File": MessageRules(
        {"path": required(between(1, 1_024)), "size_bytes": ANY, "digest": required(ANY)},
        [checks.path_is_plain],
    ),
    "Code": MessageRules(
        {"repository": URI, "commit": required(ANY), "branch": LABEL, "dirty": ANY, "diff": ANY},
        [checks.commit_is_gits, checks.diff_if_dirty],
    ),
    "Attribute": MessageRules({"name": required(LABEL), "value": between(1, 4_096)}),
    "Run": MessageRules(
        {
            "kind": required(ANY),
            "run_id": LABEL,
            "name": required(LABEL),
            "inputs": repeated(1_024),
            "outputs": repeated(1_024),
            "parameters": ATTRIBUTES,
            "code": ANY,
            "environment": ANY,
            "start_time_unix_ns": ANY,
            "end_time_unix_ns": ANY,
            "metrics": ATTRIBUTES,
            "command": between(1, 4_096),
        }
    ),
    "ArtifactReference": MessageRules({"digest": required(ANY), "role": LABEL}),
    "Deployment": MessageRules(
        {
            "name": required(LABEL),
            "model": required(ANY),
            "configuration": ANY,
            "image": ANY,
            "server": LABEL,
            "endpoint": URI,
            "valid_from_unix_ns": ANY,
            "valid_until_unix_ns": ANY,
            "code": ANY,
            "environment": ANY,
            "attributes": ATTRIBUTES,
        }
    ),
    "Attestation": MessageRules(
        {"body": carried("AttestationBody"), "signature": exactly(64)}, [checks.signed_if_keyed]
    ),
    "AttestationBody": MessageRules(
        {
            "subject": required(ANY),
            "predicate_type": required(LABEL),
            "predicate": between(1, 32_768),
            "attester": LABEL,
            "public_key": exactly(32),
            "time_unix_ns": TIME,
        }
    ),
    "Genesis": MessageRules(
        {
            "format_version": required(between(1, 1)),
            "origin": required(LABEL),
            "ledger_public_key": KEY,
            "admin_public_keys": required(repeated(16, exactly(32), ascending_by="")),
            "time_unix_ns": TIME,
        }
    ),
    "Block": MessageRules({"number": required(ANY), "time_unix_ns": TIME, "previous_block_hash": HASH}),
    "ProducerRegistered": MessageRules(
        {"body": carried("ProducerRegistration"), "possession_signature": SIGNATURE, **_ADMIN_SIGNED}
    ),
    "ProducerRegistration": MessageRules({"public_key": KEY, "name": required(LABEL), "time_unix_ns": TIME}),
    "ProducerRetired": MessageRules({"body": carried("ProducerRetirement"), **_ADMIN_SIGNED}),
    "ProducerRetirement": MessageRules({"public_key": KEY, "last_block": required(ANY), "time_unix_ns": TIME}),
    "ProducerCompromised": MessageRules({"body": carried("ProducerCompromise"), **_ADMIN_SIGNED}),
    "ProducerCompromise": MessageRules({"public_key": KEY, "suspect_since_unix_ns": TIME, "time_unix_ns": TIME}),
    "Conflict": MessageRules({"first_seal": carried("Entry"), "second_seal": carried("Entry")}, [checks.seals_differ]),
    "Removal": MessageRules({"body": carried("RemovalBody"), **_ADMIN_SIGNED}),
    "RemovalBody": MessageRules(
        {"policy": required(LABEL), "ranges": required(repeated(1_024)), "time_unix_ns": TIME},
        [partial(checks.ranges_apart, "ranges")],
    ),
    "IndexRange": MessageRules({"first": ANY, "count": required(ANY)}),
    "LedgerKey": MessageRules(
        {
            "body": carried("LedgerKeyChange"),
            "old_signature": SIGNATURE,
            "new_signature": SIGNATURE,
            **_ADMIN_SIGNED,
        }
    ),
    "LedgerKeyChange": MessageRules({"old_public_key": KEY, "new_public_key": KEY, "time_unix_ns": TIME}),
}
