"""One ledger as it is watched, and one round of it: linked to what was seen, re-hashed and re-checked, not too old."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lineage_ledger.audit import AuditState, Report, audit
from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    HistoryError,
    LineageError,
    OtherKeyError,
    OtherOriginError,
    ProofError,
    QuorumError,
    RollbackError,
    RpcError,
    StaleError,
)
from lineage_ledger.formats.ledger_keys import LedgerKeys
from lineage_ledger.formats.note import Verifier
from lineage_ledger.history import MAX_BLOCK_AGE_S, History, SignedCheckpoint
from lineage_ledger.monitor.state import StateError, StateFolder

if TYPE_CHECKING:
    from lineage_ledger.formats.witness_policy import WitnessPolicy
    from lineage_ledger.sources.rpc import RpcSource
    from lineage_ledger.sources.tiled import TiledSource

UNREACHABLE: Final = "unreachable"
NOT_CHECKED: Final = "not_checked"
STATE: Final = "state"
UNCHECKED_KINDS: Final = frozenset({UNREACHABLE, NOT_CHECKED, STATE})
"""Failures that say nothing of the ledger."""
_KINDS: Final[tuple[tuple[type[LineageError], str], ...]] = (
    (ForkError, "fork"),
    (RollbackError, "rollback"),
    (OtherOriginError, "other_origin"),
    (StaleError, "stale"),
    (QuorumError, "quorum"),
    (CheckpointFileError, STATE),
    (StateError, STATE),
    (LineageError, "checkpoint"),
)
KINDS: Final = (*dict.fromkeys(kind for _, kind in _KINDS), "finding", UNREACHABLE, NOT_CHECKED)
CONSISTENCY_KINDS: Final = frozenset({"fork", "rollback", "other_origin"})
_MAX_WHAT: Final = 5


class Failure(NamedTuple):
    """What went wrong in a round."""

    kind: str
    """One of `KINDS`."""
    key: str
    """What makes it the same failure in the next round."""
    what: str
    evidence: str
    """For machines and people: signed notes, or the report of the audit as JSON."""
    folder: str = ""
    """Where the evidence is kept; empty: nowhere."""
    findings: tuple[str, ...] = ()
    """Of an audit: the broken rules, one for each finding."""


@dataclass(slots=True)
class Round:
    """What one round found."""

    failures: list[Failure] = field(default_factory=list)
    checkpoint: SignedCheckpoint | None = None
    """What the ledger showed, if it could be believed."""
    block_time_unix_ns: int = 0
    """Of the newest block that was audited; 0: none yet."""
    entries: int = 0
    """Entries that were audited in this round."""
    is_witnessed: bool | None = None
    """Whether the checkpoint satisfies the witness policy; None: there is none."""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "tree_size": self.checkpoint.size if self.checkpoint is not None else None,
            "checkpoint": self.checkpoint.note.decode() if self.checkpoint is not None else None,
            "block_time_unix_ns": self.block_time_unix_ns,
            "entries_checked": self.entries,
            "witnessed": self.is_witnessed,
            "seconds": round(self.seconds, 3),
            "failures": [
                {"kind": each.kind, "what": each.what, "evidence": each.evidence, "evidence_folder": each.folder}
                for each in self.failures
            ],
            "exit_status": self.exit_status,
        }

    @property
    def exit_status(self) -> int:
        """0: all is right; 1: the ledger failed; 2: it could not be checked."""
        if any(failure.kind not in UNCHECKED_KINDS for failure in self.failures):
            return 1
        return 2 if self.failures else 0


@dataclass(frozen=True, slots=True)
class Watched:
    """What to watch, and how."""

    name: str
    """What logs, metrics and alarms call it."""
    verifier: Verifier
    open_source: Callable[[], TiledSource | RpcSource]
    """Raises `OSError`, `LineageError`."""
    max_block_age_s: float = MAX_BLOCK_AGE_S
    policy: WitnessPolicy | None = None
    processes: int = 1


class View:
    """A watched ledger and what is known of it. One thread runs its rounds."""

    def __init__(self, watched: Watched, state: StateFolder) -> None:
        self.watched = watched
        self.state = state
        self._history: History | None = None
        self._audited: AuditState | None = None

    def round(self) -> Round:
        """Look at the ledger once. Raises nothing: what could not be done is a failure."""
        found, started = Round(), time.monotonic()
        try:
            with closing(self.watched.open_source()) as source:
                self._look(source, found)
        except (LineageError, OSError) as error:
            found.failures.append(_failure(error))
        except Exception as error:  # noqa: BLE001  (a monitor that ends watches nothing)
            found.failures.append(Failure(NOT_CHECKED, NOT_CHECKED, f"{type(error).__name__}: {error}", ""))
        found.seconds = time.monotonic() - started
        return found

    def _look(self, source: TiledSource | RpcSource, found: Round) -> None:
        history = self._remembered()
        known = history.newest
        try:
            opened = history.open(source.note)
        except OtherKeyError:  # The ledger's key may have been changed: the entries tell.
            self._audit(source, found)
            opened = history.open(source.note)
        history.accept(source.note, known, _proof(source, history, known, opened))
        found.checkpoint = opened
        if not self._is_audited(opened):
            self._audit(source, found)
        if self._audited is not None and self._is_audited(opened):
            found.block_time_unix_ns = self._audited.rules.block.time_unix_ns
            self._check_age(history, opened, found)
        if self.watched.policy is not None:
            self._check_witnesses(self.watched.policy, opened, found)

    def _remembered(self) -> History:
        """What was seen, as it is kept on disk. Raises `CheckpointFileError`, `ForkError`, `StateError`."""
        if self._history is None:
            self._audited = self.state.read_audit_state(self.watched.verifier)
            self._history = History(self.watched.verifier, self.state.checkpoint_file)
            self._learn_keys(self._audited)
        return self._history

    def _is_audited(self, opened: SignedCheckpoint) -> bool:
        """Whether this tree is the one that was audited, and not only as large."""
        audited = self._audited
        return audited is not None and (audited.size, audited.edge.root()) == (opened.size, opened.checkpoint.root)

    def _audit(self, source: TiledSource | RpcSource, found: Round) -> None:
        report = audit(source, self.watched.verifier, since=self._audited, processes=self.watched.processes)
        if report.finding_count:
            found.failures.append(_findings(report))
        elif report.failures:
            found.failures.append(Failure(NOT_CHECKED, NOT_CHECKED, "; ".join(report.failures), _json(report)))
        if report.state is not None:
            self.state.write_audit_state(report.state)
            self._audited = report.state
            self._learn_keys(report.state)
            found.entries += report.entries_read

    def _learn_keys(self, state: AuditState | None) -> None:
        if state is not None and self._history is not None:
            origin = self.watched.verifier.name
            keys = ((facts.index, Verifier(origin, facts.public_key)) for facts in state.rules.ledger_keys)
            self._history.keys = LedgerKeys(tuple(keys))

    def _check_age(self, history: History, opened: SignedCheckpoint, found: Round) -> None:
        try:
            history.check_age(opened, found.block_time_unix_ns, time.time_ns(), self.watched.max_block_age_s)
        except StaleError as error:
            found.failures.append(_failure(error))

    def _check_witnesses(self, policy: WitnessPolicy, opened: SignedCheckpoint, found: Round) -> None:
        try:
            policy.check(opened.note, self.watched.verifier)
            found.is_witnessed = True
        except LineageError as error:
            found.is_witnessed = False
            found.failures.append(_failure(error, evidence=opened.note.decode()))


def _proof(
    source: TiledSource | RpcSource, history: History, known: SignedCheckpoint | None, opened: SignedCheckpoint
) -> tuple[bytes, ...]:
    if known is None or not 0 < known.size < opened.size:
        return ()
    try:
        return source.consistency_proof(known.size)
    except ProofError as error:
        raise history.unproven(known, opened, str(error)) from error


def _failure(error: LineageError | OSError, evidence: str = "") -> Failure:
    if isinstance(error.__cause__, RpcError) and error.__cause__.reason == "NOT_WITNESSED":
        return Failure("quorum", "quorum", str(error), "")
    if not isinstance(error, LineageError):
        return Failure(UNREACHABLE, UNREACHABLE, str(error), "")
    kind = next(kind for type_, kind in _KINDS if isinstance(error, type_))
    folder = ""
    if isinstance(error, HistoryError):
        evidence = "\n".join(note.decode(errors="replace") for note in error.evidence)
        folder = str(error.folder or "")
    return Failure(kind, kind, str(error), evidence, folder)


def _findings(report: Report) -> Failure:
    lines = [str(finding) for finding in report.findings[:_MAX_WHAT]]
    more = [f"and {report.finding_count - _MAX_WHAT:,} more"] if report.finding_count > _MAX_WHAT else []
    places = sorted((finding.kind, finding.place) for finding in report.findings)
    key = hashlib.sha256(json.dumps(places).encode()).hexdigest()[:16]
    kinds = tuple(finding.kind for finding in report.findings)
    return Failure("finding", f"finding:{key}", "; ".join([*lines, *more]), _json(report), findings=kinds)


def _json(report: Report) -> str:
    return json.dumps(report.document(), indent=1)
