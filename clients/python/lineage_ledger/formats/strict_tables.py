"""The strict encoding as flat tables, for the C kernel (`_kernel_strict.h` says how they are laid out).

Written from the plans of `strict_scanner`, so that every rule is said once. What the tables cannot say is refused here,
when this is imported, and a check that the kernel does not know when the kernel takes them: no rule is left out unseen.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from lineage_ledger.formats import strict_checks as checks
from lineage_ledger.formats.strict_scanner import BYTES, PLANS, SEAL_KIND, Field, Plan
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MAGIC: Final = 0x31656C6261745F73
_NO_FIELD: Final = 7
_BY_ITSELF: Final = 64
_GREATEST_NUMBER: Final = 63  # of a field, and of an enum's value: they are bits of a word
_NAME_BYTES: Final = 24
_MOST_ARGUMENTS: Final = 8

_CARRIED_ENTRY: Final = "Entry that is a seal"
"""A message of its own, since not every kind may be carried; so messages nest to an end."""

_ARGUMENTS: Final[Mapping[Callable[..., None], Sequence[str | int]]] = {
    checks.seal_is_small: ("seal", checks.MAX_SEAL_BYTES),
    checks.output_unless_failed: ("output_commitment", "status_code"),
    checks.first_seal_opens: ("chain_nonce", "previous_seal_hash", "predecessor", "batch_sequence"),
    checks.both_times_or_none: ("earliest_start_time_unix_ns", "latest_start_time_unix_ns"),
    checks.ranges_apart: ("{0}", "{0}.first", "{0}.count"),
    checks.digest_length: (
        "algorithm",
        "value",
        *(checks.DIGEST_BYTES[algorithm] for algorithm in range(1, len(checks.DIGEST_BYTES) + 1)),
    ),
    checks.code_only_for_code: ("code", "kind", entry_pb2.ARTIFACT_KIND_CODE),
    checks.commit_is_gits: (
        "commit",
        "commit.algorithm",
        entry_pb2.DIGEST_ALGORITHM_SHA1,
        entry_pb2.DIGEST_ALGORITHM_SHA256,
    ),
    checks.diff_if_dirty: ("diff", "dirty"),
    checks.path_is_plain: ("path",),
    checks.signed_if_keyed: ("signature", "body", "body.public_key"),
    checks.seals_differ: ("first_seal", "second_seal", "first_seal.seal", "first_seal.seal.body"),
}
"""What each check is told in C: numbers of the fields that it looks at, by path, and bounds."""


def _plans() -> dict[str, Plan]:
    """The plans, each before those of the messages that it holds."""
    plans = {**PLANS, _CARRIED_ENTRY: _carried_entry(PLANS["Entry"])}
    ordered: dict[str, Plan] = {}

    def add(name: str) -> None:
        for field in plans[name].fields.values():
            held = _held(field, name)
            if held is not None and held not in ordered:
                add(held)
        ordered[name] = plans[name]

    add("Entry")
    if missing := plans.keys() - ordered.keys():
        raise ValueError(f"no entry holds the messages {sorted(missing)}")
    return dict(reversed(ordered.items()))


def _carried_entry(entry: Plan) -> Plan:
    return entry._replace(fields={number: field for number, field in entry.fields.items() if number in SEAL_KIND})


def _held(field: Field, holder: str) -> str | None:
    """The name of the message that a field is or carries."""
    if field.message == "Entry":
        if holder == "Entry":
            raise ValueError("an entry cannot be an entry")
        return _CARRIED_ENTRY
    return field.message


def _compile(plans: Mapping[str, Plan], places: Mapping[str, int]) -> bytes:
    messages: list[bytes] = []
    fields: list[bytes] = []
    all_checks: list[bytes] = []
    for name, plan in plans.items():
        greatest = max(plan.fields)
        if greatest > _GREATEST_NUMBER or not min(plan.fields):
            raise ValueError(f"{name} has a field number outside of 1 to {_GREATEST_NUMBER}")
        required = sum(1 << field.number for field in plan.fields.values() if field.name in plan.required)
        is_entry = name in ("Entry", _CARRIED_ENTRY)
        messages.append(
            struct.pack("<6Q", len(fields), greatest, len(all_checks), len(plan.rules.across), required, is_entry)
        )
        fields += [_field(plan.fields.get(number), plans, places, name) for number in range(greatest + 1)]
        all_checks += [_check(check, plan) for check in plan.rules.across]
    header = struct.pack("<4Q", _MAGIC, len(messages), len(fields), len(all_checks))
    return b"".join((header, *messages, *fields, *all_checks))


def _field(field: Field | None, plans: Mapping[str, Plan], places: Mapping[str, int], holder: str) -> bytes:
    if field is None:
        return struct.pack("<8Q", _NO_FIELD, 0, 0, 0, 0, 0, 0, 0)
    rule, held = field.rule, _held(field, holder)
    if field.repeated == (rule.max_elements == 0):
        raise ValueError(f"{holder}.{field.name}: a field has a number of elements if, and only if, it is repeated")
    ascending = 0
    if rule.ascending_by is not None:
        key = _numbered(plans[held], rule.ascending_by) if rule.ascending_by and held else None
        ascending = _BY_ITSELF if key is None else key.number
        if not field.repeated or (field if key is None else key).wire_type != BYTES:
            raise ValueError(f"{holder}.{field.name}: only bytes and text of repeated fields are ordered")
    known = 0
    if field.enum is not None:
        if max(field.enum) > _GREATEST_NUMBER:
            raise ValueError(f"{holder}.{field.name}: a value above {_GREATEST_NUMBER}")
        known = sum(1 << value for value in field.enum)
    least, most = max(rule.least, 1), min(rule.most, field.most)  # a default is not written
    place = 0 if held is None else places[held]
    return struct.pack("<8Q", field.wire_type, field.is_text, rule.max_elements, ascending, place, least, most, known)


def _check(check: Callable[..., None], plan: Plan) -> bytes:
    given: tuple[str, ...] = ()
    if isinstance(check, partial):
        given, check = check.args, check.func
    arguments = [
        value if isinstance(value, int) else _number(plan, value.format(*given).split("."))
        for value in _ARGUMENTS[check]
    ]
    name = check.__name__.encode()
    if len(name) > _NAME_BYTES or len(arguments) > _MOST_ARGUMENTS:
        raise ValueError(f"the check {check.__name__} has too long a name, or too many arguments")
    padding = [0] * (_MOST_ARGUMENTS - len(arguments))
    return struct.pack(f"<{_NAME_BYTES}s9Q", name, len(arguments), *arguments, *padding)


def _number(plan: Plan, path: Sequence[str]) -> int:
    """The number of the field that a path leads to."""
    field = _numbered(plan, path[0])
    if len(path) == 1:
        return field.number
    if field.message is None:
        raise KeyError(f"{field.name} is no message")
    return _number(PLANS[field.message], path[1:])


def _numbered(plan: Plan, name: str) -> Field:
    return {field.name: field for field in plan.fields.values()}[name]


_PLANS: Final = _plans()
NAMES: Final = tuple(_PLANS)
"""Of the messages, in the order of the tables."""
PLACES: Final[Mapping[str, int]] = {name: place for place, name in enumerate(NAMES)}
"""Of the messages in the tables; `Entry` is at 0."""
TABLES: Final = _compile(_PLANS, PLACES)
