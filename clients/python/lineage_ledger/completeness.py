"""How complete a record is: numbers present, numbers declared lost, and what became of each chain.

What completeness means here, and no more: in the chains that are listed, up to their last seal, in the tree of the
checkpoint, every number is that of an entry or declared lost. What a producer did not number at all is beyond any log.

Counts come from the seals: each says how many predictions of each deployment are in its batch, how many numbers were
lost, and when the first and the last of its predictions started, by the producer's clock. With a range of time, a batch
that straddles its edge counts for anything between none and all of it; so a count is given as at least and at most.
When a lost prediction started nobody knows, only that it had started when its loss was sealed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from lineage_ledger.formats.seal import next_number
from lineage_ledger.v1 import entry_pb2

MEANING_OF_AUDIT: Final = (
    "In the chains listed, up to their last seal, in the tree of this checkpoint, every number is that of an entry or "
    "declared lost. Predictions that were never numbered, and chains that were never opened, are beyond this."
)

MEANING_OF_RECEIPTS: Final = (
    "In the chains listed, from the first seal shown to the last, every number is that of an entry or declared lost. "
    "That there is no later seal and no other chain, an audit alone shows. Predictions that were never numbered are "
    "beyond this."
)

MAX_LOST_RANGES: Final = 1_000
"""Kept of one chain; their count goes on."""


class Window(NamedTuple):
    """Times [from, until) in nanoseconds since the Unix epoch; 0: open. By the producers' clocks."""

    from_unix_ns: int = 0
    until_unix_ns: int = 0

    def holds(self, time_unix_ns: int) -> bool:
        """Whether the time is within."""
        return time_unix_ns >= self.from_unix_ns and (not self.until_unix_ns or time_unix_ns < self.until_unix_ns)

    @property
    def is_open(self) -> bool:
        """Whether every time is within."""
        return not self.from_unix_ns and not self.until_unix_ns

    def share_of(self, earliest_unix_ns: int, latest_unix_ns: int) -> Share:
        """How much of what happened between two times is within; both 0: nobody knows when it was."""
        if self.is_open:
            return Share.ALL
        if not earliest_unix_ns:
            return Share.SOME
        if (self.until_unix_ns and earliest_unix_ns >= self.until_unix_ns) or latest_unix_ns < self.from_unix_ns:
            return Share.NONE
        return Share.ALL if self.holds(earliest_unix_ns) and self.holds(latest_unix_ns) else Share.SOME

    def share_before(self, time_unix_ns: int) -> Share:
        """How much of what happened before a time is within, where nothing more is known of when it was."""
        if self.is_open:
            return Share.ALL
        return Share.NONE if time_unix_ns < self.from_unix_ns else Share.SOME


class Share(StrEnum):
    """How much of a batch is within a range of time."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


@dataclass(slots=True)
class Count:
    """A number that lies between two."""

    at_least: int = 0
    at_most: int = 0

    def add(self, number: int, share: Share) -> None:
        """Count `number` things, of which a share is within."""
        self.at_least += number if share is Share.ALL else 0
        self.at_most += number if share is not Share.NONE else 0

    def include(self, other: Count) -> None:
        """Count what `other` counted as well."""
        self.at_least += other.at_least
        self.at_most += other.at_most


class ChainState(StrEnum):
    """What became of a chain (proto/README.md, "Seals and chains")."""

    OPEN = "open"
    CLOSED = "closed"
    RECOVERED = "recovered"
    """Another chain of the same key goes on from it."""
    ABANDONED = "abandoned"
    """Open, and no seal for so long that its emitter is taken to be gone."""
    CONFLICTED = "conflicted"
    """Ended by two contents that were signed for one place in it."""


@dataclass(slots=True)
class ChainTotals:
    """One chain, as its seals say, from the first one added to the last."""

    chain_id: bytes
    """16 bytes."""
    public_key: bytes
    """32 bytes."""
    first_sequence: int = 0
    last_sequence: int = -1
    first_number: int = 0
    next_number: int = 0
    """One more than the last number that is accounted for."""
    predictions: Count = field(default_factory=Count)
    statements: int = 0
    """Whatever the time: statements carry none."""
    lost: Count = field(default_factory=Count)
    lost_ranges: list[tuple[int, int]] = field(default_factory=list)
    """First number and count of each loss that may be within the time, at most `MAX_LOST_RANGES`."""
    lost_ranges_left_out: int = 0
    """How many more there are."""
    by_deployment: dict[bytes, Count] = field(default_factory=dict)
    """Predictions by the leaf hash of their deployment's entry."""
    last_seal_index: int = 0
    closed: bool = False
    conflict_index: int = 0
    predecessor: entry_pb2.Predecessor | None = None
    successor_chain_id: bytes = b""
    successor_begins_at: int = 0
    """One more than the last number that the successor knows of here."""
    last_on_record_unix_ns: int = 0
    """The ledger's clock: its last seal here was on record by then; 0: not known."""
    suspect_since_unix_ns: int = 0
    """Its key was declared compromised, and is suspect from that time of the ledger's clock on; 0: not known of."""

    @property
    def unsealed(self) -> int:
        """Numbers that its successor knows of, and that no seal here accounts for."""
        return max(0, self.successor_begins_at - self.next_number)

    def add(self, index: int, body: entry_pb2.SealBody, window: Window) -> None:
        """Take in the chain's next seal."""
        if self.last_sequence < 0:
            self.first_sequence, self.first_number = body.batch_sequence, body.first_number
        if body.HasField("predecessor"):
            self.predecessor = body.predecessor
        self.last_sequence = body.batch_sequence
        self.next_number = next_number(body)
        self.last_seal_index = index
        self.closed = body.closing
        share = window.share_of(body.earliest_start_time_unix_ns, body.latest_start_time_unix_ns)
        bound = 0
        for binding in body.bindings:
            bound += binding.count
            self.predictions.add(binding.count, share)
            # With a count of 0, too: all that was made with it may be lost.
            self.by_deployment.setdefault(binding.deployment_hash, Count()).add(binding.count, share)
        self.statements += body.count - bound
        self._add_lost(body.lost, window.share_before(body.sealed_time_unix_ns))

    def _add_lost(self, ranges: Iterable[entry_pb2.NumberRange], share: Share) -> None:
        for lost in ranges:
            self.lost.add(lost.count, share)
            if share is Share.NONE:
                continue
            if len(self.lost_ranges) < MAX_LOST_RANGES:
                self.lost_ranges.append((lost.first, lost.count))
            else:
                self.lost_ranges_left_out += 1

    def recovered_by(self, chain_id: bytes, next_number: int) -> None:
        """Another chain of its key goes on from it, and knows of the numbers below `next_number`."""
        self.successor_chain_id = chain_id
        self.successor_begins_at = next_number

    def narrow(self, deployments: Collection[bytes]) -> None:
        """Count no predictions but those of these deployments (leaf hashes)."""
        self.by_deployment = {key: count for key, count in self.by_deployment.items() if key in deployments}
        self.predictions = Count()
        for count in self.by_deployment.values():
            self.predictions.include(count)

    def state(self, abandoned_before_unix_ns: int = 0) -> ChainState:
        """What became of it; an open chain whose last seal is from before that time (ledger's clock) is abandoned."""
        if self.conflict_index:
            return ChainState.CONFLICTED
        if self.closed:
            return ChainState.CLOSED
        if self.successor_chain_id:
            return ChainState.RECOVERED
        is_old = 0 < self.last_on_record_unix_ns < abandoned_before_unix_ns
        return ChainState.ABANDONED if is_old else ChainState.OPEN


@dataclass(slots=True)
class Totals:
    """Several chains together."""

    chains: int = 0
    predictions: Count = field(default_factory=Count)
    statements: int = 0
    lost: Count = field(default_factory=Count)
    by_deployment: dict[bytes, Count] = field(default_factory=dict)

    @classmethod
    def of(cls, chains: Iterable[ChainTotals]) -> Totals:
        """The sums."""
        totals = cls()
        for chain in chains:
            totals.chains += 1
            totals.predictions.include(chain.predictions)
            totals.statements += chain.statements
            totals.lost.include(chain.lost)
            for deployment_hash, count in chain.by_deployment.items():
                totals.by_deployment.setdefault(deployment_hash, Count()).include(count)
        return totals
