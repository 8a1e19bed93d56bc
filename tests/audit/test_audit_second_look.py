"""Sources that are asked for a bundle twice, and answer the second time with something else."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lineage_ledger.audit import Report, audit
from lineage_ledger.errors import CorruptError
from lineage_ledger.formats import merkle, packed
from tests.audit.ledger_builder import Builder, MemorySource, begun, predictions


@dataclass
class TwoFaced(MemorySource):
    """Has other entries, or none, in the place of some from the second time on that a bundle is asked for."""

    asked: set[int] = field(default_factory=set)
    instead: dict[int, bytes] = field(default_factory=dict)
    only_hashes: bool = False
    is_gone: bool = False

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        hashes, entries = super().bundle(number)
        if number not in self.asked:
            self.asked.add(number)
            return hashes, entries
        if self.is_gone:
            raise CorruptError("the disk is gone")
        others = [self.instead.get(256 * number + place, entry) for place, entry in enumerate(packed.split(entries))]
        hashes = b"".join(map(merkle.leaf_hash, others)) if self.has_tiles else None
        return hashes, entries if self.only_hashes else packed.pack(others)


def two_faced(builder: Builder) -> TwoFaced:
    source = builder.source()
    return TwoFaced(source.bundles, source.tiles, source.checkpoint, source.size)


def suspect_ledger() -> tuple[Builder, int, bytes]:
    """A key that was compromised, the index of its last seal, and that of a batch with fewer predictions."""
    builder, key = begun()
    chain = builder.open_chain(key)
    smaller = builder.seal_entry(chain, ())
    seal_index = builder.batch(chain, predictions(builder, 20))
    builder.block()
    builder.compromise(key, since_unix_ns=1)
    builder.block()
    return builder, seal_index, smaller


def checked(source: TwoFaced, builder: Builder) -> Report:
    report = audit(source, builder.verifier)
    assert report.exit_status != 0
    return report


@pytest.mark.parametrize("has_tiles", [True, False])
def test_what_is_suspect_cannot_be_talked_away(has_tiles: bool) -> None:
    builder, seal_index, smaller = suspect_ledger()
    source = two_faced(builder)
    assert audit(source, builder.verifier).suspect[0].predictions == 20
    source.has_tiles = has_tiles
    source.asked.clear()
    source.instead[seal_index] = smaller
    report = checked(source, builder)
    assert report.suspect == []
    assert "is not what it was" in report.failures[0]


def test_a_disk_that_is_gone_by_then_is_no_pass() -> None:
    builder, _, _ = suspect_ledger()
    source = two_faced(builder)
    source.is_gone = True
    assert "suspect: the disk is gone" in checked(source, builder).failures[0]


@pytest.mark.parametrize("only_hashes", [True, False])
def test_a_seal_that_a_conflict_names_cannot_be_put_in_later(only_hashes: bool) -> None:
    builder, key = begun()
    chain = builder.open_chain(key)
    first = builder.seal_entry(chain, (), edit=lambda body: setattr(body, "sealed_time_unix_ns", 5))
    second = builder.seal_entry(chain, (), edit=lambda body: setattr(body, "sealed_time_unix_ns", 6))
    logged_index = builder.batch(chain, ())
    builder.batch(chain, ())
    conflict_index = builder.conflict(first, second)
    builder.block()
    source = two_faced(builder)
    source.instead[logged_index] = first
    source.only_hashes = only_hashes
    assert ("conflict", conflict_index) in {(each.kind, each.index) for each in checked(source, builder).findings}
