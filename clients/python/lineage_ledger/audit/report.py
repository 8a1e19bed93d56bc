"""What an audit says: findings with their places, what was counted, what could not be checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lineage_ledger.audit.facts import Counts
from lineage_ledger.audit.state import AuditState
from lineage_ledger.audit.suspects import Suspect

MAX_FINDINGS = 1_000
CLEAN, FOUND, NOT_CHECKED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not check, and where."""

    kind: str
    """Stable name of the broken rule, such as "entry_changed"; for seals the `ErrorReason` in lower case."""
    place: str
    """Such as "entry 17", "tile level 1 number 0", "row batches 25" or "checkpoint"."""
    found: str
    expected: str = ""
    index: int | None = None
    """Of the entry, if it is one."""
    tile: tuple[int, int] | None = None
    """Level and number, if it is a hash of a tile."""
    chain: str | None = None
    """Id of the chain in hex, if it is about one."""

    @classmethod
    def at_entry(cls, index: int, kind: str, found: str, expected: str = "", *, chain: bytes | None = None) -> Finding:
        """About the entry at `index`."""
        return cls(kind, f"entry {index}", found, expected, index=index, chain=chain.hex() if chain else None)

    @classmethod
    def at_tile(cls, level: int, number: int, kind: str, found: str, expected: str = "") -> Finding:
        """About the tile `number` of `level`."""
        return cls(kind, f"tile level {level} number {number}", found, expected, tile=(level, number))

    def __str__(self) -> str:
        expected = f"; expected: {self.expected}" if self.expected else ""
        return f"{self.place}: {self.kind}: {self.found}{expected}"


@dataclass(slots=True)
class Coverage:
    """What was looked at, where that depends on the source and on what was asked for."""

    entries_from: int = 0
    """Entries below this index were not read: an audit state speaks for them."""
    signatures_from: int = 0
    """Signatures of seals and attestations below this index were not verified: a checkpoint speaks for them."""
    tiles: bool = True
    """Whether stored hashes were compared, as a source without tiles has none; the root was, all the same."""
    rows: bool = False
    """Whether the tables of a data directory were compared with the entries."""
    indexes: bool = False
    """Whether the derived indexes of a data directory were."""

    def remarks(self) -> Iterator[str]:
        """What was not looked at, for people; it is no failure, since nobody asked for it."""
        if self.entries_from:
            yield f"entries before index {self.entries_from}: not read again, as asked; an audit state speaks for them"
        elif self.signatures_from:
            yield (
                f"signatures of seals and attestations before index {self.signatures_from}: not verified again, as "
                "asked; a checkpoint speaks for them"
            )
        if not self.tiles:
            yield "stored hashes: this source gives none; entries, root and rules were checked"


@dataclass(slots=True)
class Report:
    """The outcome of an audit. It is a pass only if `exit_status` is 0."""

    origin: str = ""
    source: str = ""
    """What was audited, such as "folder public"."""
    size: int = 0
    """Entries under the checkpoint."""
    unsigned: int = 0
    """Entries behind it, which were checked too, but for which no signature speaks yet."""
    counts: Counts = field(default_factory=Counts)
    findings: list[Finding] = field(default_factory=list)
    """The first 1,000."""
    finding_count: int = 0
    not_checked: list[str] = field(default_factory=list)
    """What could not be told from what was given, such as truncation without a checkpoint from elsewhere."""
    failures: list[str] = field(default_factory=list)
    """What was to be checked and could not be: with one of these the audit is no pass."""
    suspect: list[Suspect] = field(default_factory=list)
    """What is suspect of each key that was declared compromised; no finding, for it is what was logged."""
    since: int | None = None
    """Entries of the checkpoint or the audit state that the audit went on from."""
    covered: Coverage = field(default_factory=Coverage)
    witnessed: int | None = None
    """Entries of the newest checkpoint that satisfies the witness policy; None: none was given, or none does."""
    processes: int = 1
    """How many shared the work."""
    entries_read: int = 0
    bytes_read: int = 0
    """Of packed entries."""
    end: AuditState | None = field(default=None, repr=False)
    """Where the audit ended; not a part of `document`. See `state`."""
    seconds: float = 0.0

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if there is room."""
        self.finding_count += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)

    @property
    def exit_status(self) -> int:
        """0: all was checked and is right; 1: something is wrong; 2: nothing was seen wrong, but not all checked."""
        if self.finding_count:
            return FOUND
        return NOT_CHECKED if self.failures else CLEAN

    @property
    def state(self) -> AuditState | None:
        """What a later audit can go on from; None unless the exit status is 0."""
        return None if self.exit_status else self.end

    @property
    def entries_per_second(self) -> float:
        """How fast entries were checked."""
        return self.entries_read / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """All of it as plain data."""
        document = asdict(replace(self, end=None)) | {
            "exit_status": self.exit_status,
            "entries_per_second": round(self.entries_per_second),
        }
        del document["end"]
        return document
