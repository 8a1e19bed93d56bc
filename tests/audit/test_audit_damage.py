"""Stored bytes that were changed: each is named by its place, and does not drown the report."""

from __future__ import annotations

import random

import pytest

from lineage_ledger.audit import Report, audit
from lineage_ledger.errors import LineageError
from lineage_ledger.formats import packed
from lineage_ledger.formats.note import Signer
from tests.audit.ledger_builder import Builder, MemorySource, begun, grown, predictions, source_of


@pytest.fixture(scope="module")
def ledger() -> Builder:
    """About 3,000 entries: eleven full bundles and a tail."""
    builder = grown(7, 40, 150)
    assert len(builder.entries) > 2_600
    assert len(builder.entries) % 256
    return builder


@pytest.fixture(scope="module")
def large() -> Builder:
    """Above 65,536 entries, so that there is a full tile of level 1, and a level 2."""
    builder, key = begun(9)
    chain = builder.open_chain(key)
    entries = predictions(builder, 1_000)
    for _ in range(67):
        builder.batch(chain, entries)
        builder.block()
    return builder


def flip(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def places(report: Report) -> list[str]:
    assert report.failures == []
    assert report.exit_status == (1 if report.findings else 0)
    return [finding.place for finding in report.findings]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(("batches", "most"), [(0, 1), (9, 4), (12, 90), (3, 900)])
def test_right_ledgers_of_many_shapes_pass(seed: int, batches: int, most: int) -> None:
    builder = grown(seed, batches, most)
    report = audit(builder.source(), builder.verifier, builder.checkpoint(4))
    assert places(report) == []
    assert report.not_checked == []
    assert report.counts.entries == report.size == len(builder.entries)
    assert report.counts.seals == batches + 3


@pytest.mark.parametrize("count", [250, 251, 252, 253, 506, 507, 508, 509, 763, 764, 765])
def test_sizes_around_full_bundles_pass(count: int) -> None:
    builder, key = begun()
    builder.batch(builder.open_chain(key), predictions(builder, count))
    builder.block()
    assert places(audit(builder.source(), builder.verifier, builder.checkpoint())) == []


def test_a_large_ledger_passes(large: Builder) -> None:
    assert places(audit(large.source(), large.verifier, large.checkpoint(4))) == []


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_in_a_bundle_is_named(ledger: Builder, seed: int) -> None:
    choice = random.Random(seed)
    source = ledger.source()
    number = choice.randrange(len(source.bundles))
    hashes, entries = source.bundles[number]
    bit = choice.randrange(8 * len(entries))
    source.bundles[number] = (hashes, flip(entries, bit))
    index = number * 256 + next(
        place for place, (offset, length) in enumerate(packed.spans(entries)) if bit // 8 < offset + length
    )
    assert places(audit(source, ledger.verifier)) == [f"entry {index}"]


def test_a_flipped_bit_in_any_length_is_named(ledger: Builder) -> None:
    for number in (3, len(ledger.source().bundles) - 1):
        source = ledger.source()
        hashes, entries = source.bundles[number]
        for place, (offset, _) in list(enumerate(packed.spans(entries)))[::40]:
            for bit in range(16):
                source.bundles[number] = (hashes, flip(entries, 8 * (offset - 2) + bit))
                report = audit(source, ledger.verifier)
                assert places(report) == [f"entry {number * 256 + place}"]
                assert [finding.kind for finding in report.findings] == ["entry_length"]


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_in_a_leaf_hash_is_named(ledger: Builder, seed: int) -> None:
    choice = random.Random(seed)
    source = ledger.source()
    number = choice.randrange(len(source.bundles)) if seed else len(source.bundles) - 1
    hashes, entries = source.bundles[number]
    source.bundles[number] = (flip(hashes, choice.randrange(8 * len(hashes))), entries)
    assert places(audit(source, ledger.verifier)) == [f"tile level 0 number {number}"]


def test_a_flipped_bit_in_a_partial_tile_is_named(ledger: Builder) -> None:
    source = ledger.source()
    for bit in range(0, 8 * len(source.tiles[1, 0]), 97):
        right = source.tiles[1, 0]
        source.tiles[1, 0] = flip(right, bit)
        assert places(audit(source, ledger.verifier)) == ["tile level 1 number 0"]
        source.tiles[1, 0] = right


@pytest.mark.parametrize("tile", [(1, 0), (1, 1), (2, 0)])
def test_a_flipped_bit_in_any_tile_of_a_large_ledger_is_named(large: Builder, tile: tuple[int, int]) -> None:
    source = large.source()
    source.tiles[tile] = flip(source.tiles[tile], 8 * len(source.tiles[tile]) - 3)
    assert places(audit(source, large.verifier)) == [f"tile level {tile[0]} number {tile[1]}"]


@pytest.mark.parametrize("kind", range(1, 16))
def test_an_entry_of_each_kind_that_was_changed_drowns_nothing(ledger: Builder, kind: int) -> None:
    indexes = [index for index, entry in enumerate(ledger.entries) if entry[0] >> 3 == kind]
    for index in indexes[:: max(1, len(indexes) // 6)]:
        source = ledger.source()
        entries = list(ledger.entries)
        entries[index] = flip(entries[index], 8 * (len(entries[index]) - 5))
        number = index // 256
        source.bundles[number] = (source.bundles[number][0], packed.pack(entries[number * 256 :][:256]))
        report = audit(source, ledger.verifier)
        assert [(f.kind, f.place) for f in report.findings] == [("entry_changed", f"entry {index}")]


def test_several_changes_in_one_bundle_are_each_named(ledger: Builder) -> None:
    source = ledger.source()
    hashes, _ = source.bundles[2]
    entries = list(ledger.entries[512:768])
    entries[7], entries[90] = flip(entries[7], 300), flip(entries[90], 300)
    source.bundles[2] = (flip(hashes, 8 * 32 * 30 + 1), packed.pack(entries))
    assert sorted(places(audit(source, ledger.verifier))) == ["entry 519", "entry 602", "tile level 0 number 2"]


def test_an_entry_changed_with_its_hash_is_named(ledger: Builder) -> None:
    """Whoever changes both must change the tiles above, too, and cannot change the signed root."""
    changed = [*ledger.entries[:600], ledger.artifact(), *ledger.entries[601:]]
    source = ledger.source()
    source.bundles[2] = source_of(changed, b"").bundles[2]
    report = audit(source, ledger.verifier)
    assert "entries 512 to 767" in places(report)
    source.tiles = source_of(changed, b"").tiles
    assert "checkpoint" in places(audit(source, ledger.verifier))


def test_a_missing_bundle_is_named(ledger: Builder) -> None:
    class Missing(MemorySource):
        def bundle(self, number: int) -> tuple[bytes | None, bytes]:
            if number == 4:
                raise LineageError("bundle 4 is missing")
            return super().bundle(number)

    right = ledger.source()
    source = Missing(right.bundles, right.tiles, right.checkpoint, right.size)
    assert places(audit(source, ledger.verifier)) == ["bundle 4"]


def test_a_bundle_cut_short_names_its_first_entry_that_is_gone(ledger: Builder) -> None:
    source = ledger.source()
    hashes, entries = source.bundles[3]
    offset, _ = list(packed.spans(entries))[100]
    source.bundles[3] = (hashes, entries[: offset + 3])
    assert places(audit(source, ledger.verifier)) == [f"entry {3 * 256 + 100}"]
    source.bundles[3] = (hashes, entries + b"\x00")
    assert places(audit(source, ledger.verifier)) == ["bundle 3"]


def test_a_missing_tile_is_named(ledger: Builder) -> None:
    source = ledger.source()
    del source.tiles[1, 0]
    assert set(places(audit(source, ledger.verifier))) == {"tile level 1 number 0"}


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_in_the_checkpoint_is_named(ledger: Builder, seed: int) -> None:
    source = ledger.source()
    bit = random.Random(seed).randrange(8 * len(source.checkpoint))
    source.checkpoint = flip(source.checkpoint, bit)
    found = places(audit(source, ledger.verifier))
    assert found
    assert found[0] == "checkpoint"


def test_entries_behind_the_checkpoint_are_checked_and_counted() -> None:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.batch(chain, predictions(builder, 300))
    signed = builder.block() + 1
    builder.batch(chain, predictions(builder, 300))
    builder.block()
    report = audit(builder.source(signed), builder.verifier)
    assert places(report) == []
    assert (report.size, report.unsigned) == (signed, len(builder.entries) - signed)
    source = builder.source(signed)
    number = len(source.bundles) - 1
    source.bundles[number] = (source.bundles[number][0], flip(source.bundles[number][1], 99))
    assert places(audit(source, builder.verifier)) == [
        f"entry {number * 256} or its hash in tile level 0 number {number}"
    ]


def test_truncation_is_seen_only_with_a_checkpoint_from_elsewhere(ledger: Builder) -> None:
    blocks = [index for index, entry in enumerate(ledger.entries) if entry[0] == 0x4A]
    shorter = Builder(entries=ledger.entries[: blocks[-3] + 1])
    shorter.signer = ledger.signer
    source = shorter.source()
    report = audit(source, ledger.verifier)
    assert report.exit_status == 0
    assert report.not_checked == [
        "truncation: cannot be checked without a checkpoint that somebody else kept (--checkpoint)"
    ]
    report = audit(source, ledger.verifier, ledger.checkpoint())
    assert [finding.kind for finding in report.findings] == ["truncated"]


def test_a_checkpoint_of_another_history_is_a_finding(ledger: Builder) -> None:
    other = Builder(entries=[*ledger.entries[:1000], ledger.artifact()])
    other.signer = ledger.signer
    report = audit(ledger.source(), ledger.verifier, other.checkpoint())
    assert ("other_history", "checkpoint from elsewhere") in [(f.kind, f.place) for f in report.findings]


@pytest.mark.parametrize("what", ["garbage", "another key", "another origin"])
def test_an_unusable_checkpoint_from_elsewhere_is_no_pass(ledger: Builder, what: str) -> None:
    other = Builder(5, "example.com/other" if what == "another origin" else ledger.origin)
    other.genesis()
    known = b"garbage" if what == "garbage" else other.checkpoint(signer=Signer(other.origin, other.new_key()))
    report = audit(ledger.source(), ledger.verifier, known)
    assert report.exit_status == 2
    assert len(report.failures) == 1


def test_an_exception_inside_is_no_pass(ledger: Builder) -> None:
    class Broken(MemorySource):
        def bundle(self, number: int) -> tuple[bytes, bytes]:
            raise OSError(5, "Input/output error")

    right = ledger.source()
    report = audit(Broken(right.bundles, right.tiles, right.checkpoint, right.size), ledger.verifier)
    assert report.exit_status == 2
    assert "Input/output error" in report.failures[0]


def test_the_list_of_findings_is_bounded(ledger: Builder) -> None:
    source = ledger.source()
    source.bundles = [(hashes, packed.pack([b"\x0a\x00"] * 256)) for hashes, _ in source.bundles]
    report = audit(source, ledger.verifier)
    assert len(report.findings) <= 1_000 <= report.finding_count
