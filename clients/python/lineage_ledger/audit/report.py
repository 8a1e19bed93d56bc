"""What an audit says: findings with their places, what was counted, what could not be checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

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
class Counts:
    """What went by."""

    entries: int = 0
    predictions: int = 0
    statements: int = 0
    seals: int = 0
    chains: int = 0
    blocks: int = 0
    producers: int = 0
    conflicts: int = 0
    lost: int = 0
    """Numbers that seals declare lost."""


@dataclass(slots=True)
class Report:
    """The outcome of an audit. It is a pass only if `exit_status` is 0."""

    origin: str = ""
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
    processes: int = 1
    """How many shared the work."""
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
    def entries_per_second(self) -> float:
        """How fast entries were checked."""
        return self.counts.entries / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self) | {"exit_status": self.exit_status, "entries_per_second": round(self.entries_per_second)}
