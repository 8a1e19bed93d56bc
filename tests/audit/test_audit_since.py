"""Audits that go on from where another ended: what is newer is found all the same, and the report says what was not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from lineage_ledger.audit import AuditState, Report, audit, read_since
from lineage_ledger.audit.edge import EMPTY
from lineage_ledger.errors import LineageError, MalformedError, VerificationError
from lineage_ledger.formats import merkle
from lineage_ledger.formats.note import Signer
from lineage_ledger.kernel import tree_root
from tests.audit import test_audit_rules
from tests.audit.ledger_builder import Builder, MemorySource, begun, grown, predictions
from tests.audit.test_audit_rules import CASES
from tests.audit.test_audit_shared import padded


def kept(builder: Builder, size: int, signer: Signer | None = None) -> AuditState:
    """The state of a clean audit of the first `size` entries, as it comes back from a file."""
    older = Builder(entries=builder.entries[:size])
    older.signer = signer or builder.signer
    report = audit(older.source(), older.verifier)
    assert report.state is not None, report.findings
    return AuditState.parse(report.state.encode(), older.verifier)


def blocks(builder: Builder) -> list[int]:
    return [index for index, entry in enumerate(builder.entries) if entry[0] == 0x4A]


def same(report: Report) -> object:
    return report.findings, report.counts, report.failures, report.size, report.unsigned


def flipped(source: MemorySource, number: int, part: int, bit: int) -> None:
    parts = [bytearray(each) for each in source.bundles[number]]
    parts[part][bit // 8] ^= 1 << bit % 8
    source.bundles[number] = (bytes(parts[0]), bytes(parts[1]))


@pytest.fixture(scope="module")
def ledger() -> Builder:
    return grown(7, 40, 150)


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_broken_rule_behind_the_state_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []

    def after(entries: int) -> object:
        builder, key = padded(entries)
        ends.append((len(builder.entries), builder.signer))
        return builder, key

    monkeypatch.setattr(test_audit_rules, "begun", partial(after, 300))
    builder, _ = CASES[name]()
    if not ends:  # The genesis itself is what is wrong.
        return
    size, signer = ends[0]
    whole = audit(builder.source(), builder.verifier)
    state = kept(builder, size, signer)
    report = audit(builder.source(), builder.verifier, since=state)
    assert same(report) == same(whole)
    assert report.state == whole.state
    assert (report.since, report.covered.entries_from) == (size, size)
    assert report.entries_read == len(builder.entries) - size
    checkpoint = builder.checkpoint(size, signer=signer)
    report = audit(builder.source(), builder.verifier, since=checkpoint)
    assert same(report) == same(whole)
    assert (report.since, report.covered.signatures_from, report.covered.entries_from) == (size, size, 0)


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bits_behind_the_state_are_found(ledger: Builder, seed: int) -> None:
    choice = random.Random(seed)
    size = choice.choice(blocks(ledger)[2:-4]) + 1
    state = kept(ledger, size)
    source = ledger.source()
    for _ in range(seed % 3):
        number = choice.randrange(size // 256 + 1, len(source.bundles))
        part = choice.randrange(2)
        flipped(source, number, part, choice.randrange(8 * len(source.bundles[number][part])))
    whole = audit(source, ledger.verifier)
    read: list[int] = []
    watched = Watching(source.bundles, source.tiles, source.checkpoint, source.size)
    watched.read = read
    report = audit(watched, ledger.verifier, since=state)
    assert same(report) == same(whole)
    assert read == list(range(size // 256, len(source.bundles)))


class Watching(MemorySource):
    """Notes which bundles are read."""

    read: list[int]

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        self.read.append(number)
        return super().bundle(number)


def test_nothing_new_is_a_pass_and_gives_the_same_state(ledger: Builder) -> None:
    state = kept(ledger, len(ledger.entries))
    report = audit(ledger.source(), ledger.verifier, since=state)
    assert (report.exit_status, report.entries_read, report.state) == (0, 0, state)
    assert report.not_checked == []


@pytest.mark.parametrize("has_tiles", [True, False])
def test_a_chain_of_states_is_one_audit(ledger: Builder, has_tiles: bool) -> None:
    state = None
    for index in blocks(ledger)[1:]:
        older = Builder(entries=ledger.entries[: index + 1])
        older.signer = ledger.signer
        source = older.source()
        source.has_tiles = has_tiles
        report = audit(source, ledger.verifier, since=state)
        assert (report.findings, report.failures) == ([], [])
        state = report.state
        assert state is not None
        assert state.size == index + 1
    assert state == kept(ledger, len(ledger.entries))


def test_entries_that_are_not_signed_yet_are_not_in_the_state(ledger: Builder) -> None:
    signed = blocks(ledger)[-5] + 1
    report = audit(ledger.source(signed), ledger.verifier)
    assert report.state == kept(ledger, signed)
    again = audit(ledger.source(), ledger.verifier, since=report.state)
    assert again.exit_status == 0
    assert again.state == kept(ledger, len(ledger.entries))


def test_what_is_older_is_not_looked_at_and_the_report_says_so(ledger: Builder) -> None:
    state = kept(ledger, blocks(ledger)[-3] + 1)
    source = ledger.source()
    flipped(source, 1, 1, 999)
    report = audit(source, ledger.verifier, since=state)
    assert report.exit_status == 0
    assert report.document()["covered"]["entries_from"] == state.size
    assert [line for line in report.covered.remarks() if "not read again" in line]


def rewritten(ledger: Builder, index: int) -> Builder:
    """The same ledger, signed by the same key, with another entry there."""
    other = Builder(entries=[*ledger.entries])
    other.signer = ledger.signer
    other.entries[index] = other.entries[index][:-1] + bytes([other.entries[index][-1] ^ 1])
    return other


@pytest.mark.parametrize("has_tiles", [True, False])
@pytest.mark.parametrize("place", [5, 300, 1_000, -1])
@pytest.mark.parametrize("growth", [0, 3])
def test_a_ledger_that_rewrote_what_is_older_is_found(
    ledger: Builder, has_tiles: bool, place: int, growth: int
) -> None:
    size = blocks(ledger)[-1 - growth] + 1
    state = kept(ledger, size)
    other = rewritten(ledger, place if place > 0 else size - 2)
    source = other.source()
    source.has_tiles = has_tiles
    report = audit(source, ledger.verifier, since=state)
    assert report.exit_status == 1
    assert report.state is None
    assert {finding.kind for finding in report.findings} & {"root", "other_history", "subtree_changed", "tile_changed"}
    assert audit(source, ledger.verifier, since=ledger.checkpoint(size)).exit_status == 1


def test_a_stored_hash_that_contradicts_the_state_is_found(ledger: Builder) -> None:
    state = kept(ledger, blocks(ledger)[-3] + 1)
    source = ledger.source()
    tile = bytearray(source.tiles[1, 0])
    tile[40] ^= 1
    source.tiles[1, 0] = bytes(tile)
    report = audit(source, ledger.verifier, since=state)
    assert [(finding.kind, finding.tile) for finding in report.findings] == [("tile_changed", (1, 0))]


@pytest.mark.parametrize("unsigned", [False, True])
def test_a_ledger_that_went_back_is_found(ledger: Builder, unsigned: bool) -> None:
    """Cut off, or with a checkpoint from before and the entries still there."""
    state = kept(ledger, len(ledger.entries))
    size = blocks(ledger)[-4] + 1
    older = Builder(entries=ledger.entries[:size])
    older.signer = ledger.signer
    source = ledger.source(size) if unsigned else older.source()
    for since in (state, state.note):
        report = audit(source, ledger.verifier, since=since)
        if unsigned and since is state.note:
            continue
        assert "truncated" in [finding.kind for finding in report.findings]
        assert report.exit_status == 1


def test_signatures_before_a_checkpoint_are_not_verified_again() -> None:
    builder, key = begun()
    chain = builder.open_chain(key)
    wrong = builder.batch(chain, predictions(builder, 3), signing_key=builder.new_key())
    builder.batch(chain, [builder.attestation(key, signer=builder.new_key())])
    size = builder.block() + 1
    later = builder.batch(chain, predictions(builder, 3), signing_key=builder.new_key())
    builder.block()
    kinds = [(each.kind, each.index) for each in audit(builder.source(), builder.verifier).findings]
    assert kinds == [("bad_signature", wrong), ("attestation_signature", wrong + 1), ("bad_signature", later)]
    report = audit(builder.source(), builder.verifier, since=builder.checkpoint(size))
    assert [(each.kind, each.index) for each in report.findings] == [("bad_signature", later)]


def test_everything_but_signatures_before_a_checkpoint_is_checked_again() -> None:
    for name in ("seal with another root", "block_with_another_link", "batch_of_an_unknown_key", "second_genesis"):
        builder, expected = CASES[name]()
        report = audit(builder.source(), builder.verifier, since=builder.checkpoint())
        assert [(each.kind, each.index) for each in report.findings] == expected


def test_a_checkpoint_that_is_not_the_ledgers_is_no_pass(ledger: Builder) -> None:
    stranger = Signer(ledger.origin, ledger.new_key())
    for since in (b"garbage", ledger.checkpoint(signer=stranger)):
        report = audit(ledger.source(), ledger.verifier, since=since)
        assert (report.exit_status, len(report.failures)) == (2, 1)


def test_a_conflict_may_name_a_seal_among_older_entries() -> None:
    builder, key = begun()
    chain = builder.open_chain(key)
    other = builder.seal_entry(chain, (), edit=lambda body: setattr(body, "sealed_time_unix_ns", 5))
    logged = builder.entries[builder.batch(chain, ())]
    while len(builder.entries) < 600:
        builder.batch(chain, predictions(builder, 60))
    state = kept(builder, builder.block() + 1)
    index = builder.conflict(logged, other)
    builder.block()
    assert audit(builder.source(), builder.verifier, since=state).findings == []
    builder.entries[index] = builder.entries[builder.conflict(other, logged)]
    del builder.entries[-1]
    builder.block_hash = merkle.leaf_hash(builder.entries[index - 1])
    builder.entries[-1] = builder.entries[builder.block(number=builder.block_number)]
    del builder.entries[-1]
    found = audit(builder.source(), builder.verifier, since=state).findings
    assert [(each.kind, each.index) for each in found] == [("conflict", index)]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, 131_073, 16_777_217])
def test_an_edge_grown_in_any_steps_has_the_root(size: int) -> None:
    count = min(size, 131_073)
    leaves = random.Random(size).randbytes(32 * count)
    edge = EMPTY
    for start in range(0, count, 7_001):
        edge = edge.extended(leaves[32 * start : 32 * min(count, start + 7_001)])
    assert edge == EMPTY.extended(leaves)
    assert (edge.size, edge.root()) == (count, tree_root(leaves))


def edits(state: AuditState) -> dict[str, AuditState]:
    rules = state.rules
    first, second = rules.chains[:2]
    tail = state.edge.levels[0]
    return {
        "another tail": replace(state, edge=state.edge._replace(levels=(tail[:-1] + b"x", *state.edge.levels[1:]))),
        "a tile too long": replace(state, edge=state.edge._replace(levels=(tail * 2, *state.edge.levels[1:]))),
        "a level too many": replace(state, edge=state.edge._replace(levels=(*state.edge.levels, b""))),
        "another size": replace(state, edge=state.edge._replace(size=state.size + 256)),
        "no ledger key": replace(state, rules=replace(rules, ledger_keys=())),
        "another ledger key": replace(
            state, rules=replace(rules, ledger_keys=(replace(rules.ledger_keys[0], public_key=b"k" * 32),))
        ),
        "a chain twice": replace(state, rules=replace(rules, chains=(first, replace(first, ordinal=1)))),
        "chains in another order": replace(state, rules=replace(rules, chains=(second, first))),
        "a producer twice": replace(state, rules=replace(rules, producers=rules.producers * 2)),
        "no checkpoint": replace(state, note=b""),
        "another checkpoint": replace(state, note=state.note.replace(b"example", b"exxmple")),
    }


def test_a_state_that_contradicts_itself_is_refused(ledger: Builder) -> None:
    state = kept(ledger, len(ledger.entries))
    for name, edited in edits(state).items():
        with pytest.raises(LineageError):
            AuditState.parse(edited.encode(), ledger.verifier)
            pytest.fail(name)


def test_every_changed_byte_of_a_state_is_refused(ledger: Builder) -> None:
    data = kept(ledger, blocks(ledger)[6] + 1).encode()
    assert read_since(data, ledger.verifier) == AuditState.parse(data, ledger.verifier)
    for at in range(0, len(data), 41):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(MalformedError):
            AuditState.parse(bytes(changed), ledger.verifier)
    for shorter in (b"", data[:20], data[:-1], data + b"\n", data[:200]):
        with pytest.raises(MalformedError):
            AuditState.parse(shorter, ledger.verifier)


def redigested(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    header, _, rest = data.partition(b"\n")
    body = change(rest.partition(b"\n")[2])
    return header + b"\nsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"size ", b"size 0"),
        (b"size ", b"size  "),
        (b"\nblock ", b"\nblock  "),
        (b"\nadmin ", b"\nadmin A"),
        (b"\nadmin ", b"\nadmim "),
        (b"\ncounts ", b"\ncounts -1 "),
        (b"\nchain ", b"\nextra 1\nchain "),
        (b"\ntile 0 ", b"\ntile 00 "),
        (b"\ntile 0 ", b"\ntile 0 ="),
        (b"\nblock ", "\nblock \u00e9".encode()),
        (b"\nadmin ", b"\nadmin 00"),
        (b"\nadmin ", b"\nadmin -\nadmin "),
        (b"\nproducer ", b"\nproducer 00"),
        (b"\nledger_key 0 ", b"\nledger_key 0 00"),
        (b"\nchain ", b"\nchain " + bytes(64)),
        (b"\n\n", b"\n \n"),
        (b"\n\n", b"\nchain 1\n\n"),
    ],
)
def test_a_state_has_one_form(ledger: Builder, old: bytes, new: bytes) -> None:
    data = kept(ledger, blocks(ledger)[6] + 1).encode()
    changed = redigested(data, lambda body: body.replace(old, new, 1))
    assert changed != data
    with pytest.raises(MalformedError):
        AuditState.parse(changed, ledger.verifier)


def test_a_state_of_another_ledger_is_refused(ledger: Builder) -> None:
    other, _ = begun(5)
    with pytest.raises(VerificationError, match="of another ledger"):
        AuditState.parse(kept(ledger, len(ledger.entries)).encode(), other.verifier)


def test_a_state_goes_on_over_a_change_of_the_ledgers_key() -> None:
    builder, key = begun()
    old = builder.signer
    state = kept(builder, len(builder.entries))
    builder.change_ledger_key(builder.new_key())
    builder.block()
    for verifier in (old.verifier, builder.verifier):
        report = audit(builder.source(), verifier, since=state)
        assert report.exit_status == 0, report.findings
        assert report.state is not None
        AuditState.parse(report.state.encode(), verifier)
    builder.batch(builder.open_chain(key), predictions(builder, 5))
    builder.block()
    again = audit(builder.source(), old.verifier, since=report.state)
    assert again.exit_status == 0
