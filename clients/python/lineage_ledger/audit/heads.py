"""Signed heads held against the tree that the entries make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lineage_ledger.audit.report import Finding, Report
from lineage_ledger.audit.rules import Rules
from lineage_ledger.audit.state import AuditState, Since
from lineage_ledger.errors import LineageError, QuorumError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note, Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy


class Head(NamedTuple):
    """A checkpoint to check."""

    name: str
    """What findings call it."""
    note: bytes
    checkpoint: Checkpoint
    """What it says; nobody has looked at its signature yet."""
    kept_elsewhere: bool
    is_since: bool = False
    """It says where the audit goes on from."""


def gather(
    own: Sequence[tuple[str, bytes]], known_checkpoint: bytes | None, since: Since | None, report: Report
) -> list[Head]:
    """The checkpoints to check, the ledger's own first, the newest of these before the others."""
    heads = []
    for name, note in own:
        try:
            heads.append(parse_head(note, name))
        except LineageError as error:
            report.add(Finding("checkpoint", name, str(error), "a signed checkpoint"))
    if not heads:
        report.add(Finding("checkpoint", "checkpoint", "there is none that can be read", "a signed checkpoint"))
    if known_checkpoint is None and since is None:
        report.not_checked.append(
            "truncation: cannot be checked without a checkpoint that somebody else kept (--checkpoint)"
        )
    since_note = since.note if isinstance(since, AuditState) else since
    for kept, name in ((known_checkpoint, "checkpoint from elsewhere"), (since_note, "checkpoint to go on from")):
        if kept is None:
            continue
        try:
            head = parse_head(kept, name, kept_elsewhere=True)
        except LineageError as error:
            report.failures.append(f"the {name} cannot be used: {error}")
        else:
            heads.append(head._replace(is_since=kept is since_note))
    return heads


def parse_head(note: bytes, name: str, *, kept_elsewhere: bool = False) -> Head:
    """Take a checkpoint apart. Raises `MalformedError`."""
    return Head(name, note, Checkpoint.parse(Note.parse(note).text), kept_elsewhere)


def check_heads(
    heads: Sequence[Head],
    verifier: Verifier,
    size: int,
    roots: Mapping[int, bytes],
    rules: Rules,
    report: Report,
    read_from: int = 0,
) -> None:
    """Check each head's signature, and its size and root against the tree of the `size` entries that are there.

    Those below `read_from` were not read: of an older tree nothing can be said.

    The verifier's key must be one of the ledger's; a checkpoint is signed by the key that was the ledger's at its size.
    """
    ledger_keys = rules.authority.ledger_keys
    if ledger_keys and verifier.public_key not in ledger_keys and rules.damage.structural:
        unread = min(rules.damage.structural)
        report.not_checked.append(f"whether the verifier's key became the ledger's: entry {unread} cannot be read")
    elif ledger_keys and verifier.public_key not in ledger_keys:
        expected = f"the verifier's, {verifier.public_key.hex()}"
        report.add(Finding.at_entry(0, "ledger_key", f"the ledger's key is {ledger_keys[0].hex()}", expected))
    for head in heads:
        problem = _signature_problem(head, verifier, rules)
        if problem and head.kept_elsewhere:
            # It proves nothing, so nothing is known of what it was meant to show.
            report.failures.append(f"the {head.name} cannot be used: {problem}")
        else:
            if problem:
                report.add(Finding("checkpoint_signature", head.name, problem))
            if head.checkpoint.size >= read_from:
                _check_tree(head, size, roots, rules, report)
            elif head.kept_elsewhere:
                report.not_checked.append(f"the {head.name}: it is over entries that were not read again")
            elif head is heads[0]:
                found = f"is over {head.checkpoint.size} entries, {read_from} were audited before: it went back"
                report.add(Finding("truncated", head.name, found, f"{read_from} entries or more"))


def check_witnesses(heads: Sequence[Head], policy: WitnessPolicy, verifier: Verifier, report: Report) -> None:
    """The ledger's own checkpoints held against a witness policy, which the newest one or one before it must satisfy.

    A cosignature that claims to be by a witness of the policy and is not is a finding of its own.
    """
    own = sorted((head for head in heads if not head.kept_elsewhere), key=lambda head: -head.checkpoint.size)
    missing = ""
    for head in own:
        try:
            policy.check(head.note, verifier)
        except QuorumError as error:
            missing = missing or str(error)
        except LineageError as error:
            report.add(Finding("cosignature", head.name, str(error)))
        else:
            report.witnessed = max(report.witnessed or 0, head.checkpoint.size)
    if report.witnessed is None:
        place = own[0].name if own else "checkpoint"
        report.add(Finding("quorum", place, missing or "there is no checkpoint with its cosignatures"))


def _signature_problem(head: Head, verifier: Verifier, rules: Rules) -> str:
    keys = rules.authority.ledger_keys
    key = rules.authority.ledger_key_at(head.checkpoint.size) if verifier.public_key in keys else None
    try:
        Checkpoint.open(head.note, Verifier(verifier.name, key or verifier.public_key))
    except LineageError as error:
        return str(error)
    return ""


def _check_tree(head: Head, size: int, roots: Mapping[int, bytes], rules: Rules, report: Report) -> None:
    said = head.checkpoint
    if said.size > size:
        found = f"{size} entries are there, the {head.name} is over {said.size}: the newest were cut off"
        report.add(Finding("truncated", f"entry {size}", found, f"{said.size} entries", index=size))
        return
    root = roots.get(said.size)
    if root is not None and root != said.root:
        kind = "other_history" if head.kept_elsewhere else "root"
        found = f"the entries up to {said.size} have the root {root.hex()}"
        report.add(Finding(kind, head.name, found, said.root.hex()))
    if said.size not in rules.ended_by_block and said.size - 1 not in rules.damage.structural:
        report.add(Finding.at_entry(said.size - 1, "no_block", "the tree does not end with a block", "a block"))
