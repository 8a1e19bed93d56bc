"""An audit that goes on while the ledger grows finds what an audit of the whole finds, wherever it is cut."""

from __future__ import annotations

import random

import pytest

from lineage_ledger.audit import AuditState, IncrementalAudit, audit
from lineage_ledger.errors import MalformedBatchError
from lineage_ledger.formats import packed
from lineage_ledger.formats.note import Signer
from tests.audit.ledger_builder import Builder, begun, grown, predictions
from tests.audit.test_audit_rules import CASES

Found = list[tuple[str, int | None]]


def cuts(builder: Builder) -> list[int]:
    """Sizes at which the ledger could have signed."""
    return [index + 1 for index, entry in enumerate(builder.entries) if entry[0] == 0x4A]


def fed(incremental: IncrementalAudit, builder: Builder, size: int, step: int) -> Found:
    found = []
    while incremental.size < size:
        start = incremental.size
        found += incremental.feed(packed.pack(builder.entries[start : min(size, start + step)]))
    return [(finding.kind, finding.index) for finding in found]


@pytest.mark.parametrize("step", [1, 7, 256, 300, 16_385])
def test_all_checkpoints_of_a_right_ledger_check(step: int) -> None:
    builder = grown(3, 12, 90)
    incremental = IncrementalAudit(builder.verifier)
    for size in cuts(builder):
        assert fed(incremental, builder, size, step) == []
        assert incremental.check(builder.checkpoint(size)) == []
    whole = audit(builder.source(), builder.verifier)
    state = incremental.state()
    assert state is not None
    assert incremental.counts.entries == len(builder.entries)
    assert state == whole.state
    assert state.rules.counts == whole.counts


@pytest.mark.parametrize("seed", range(6))
def test_a_kept_state_goes_on(seed: int) -> None:
    choice = random.Random(seed)
    builder = grown(seed, 20, 60)
    state: AuditState | None = None
    for size in sorted(choice.sample(cuts(builder)[1:], 5)):
        kept = state.encode() if state is not None else b""
        incremental = IncrementalAudit(builder.verifier, AuditState.parse(kept, builder.verifier) if kept else None)
        assert fed(incremental, builder, size, choice.randrange(1, 500)) == []
        assert incremental.state() is None
        assert incremental.check(builder.checkpoint(size)) == []
        state = incremental.state()
        assert state is not None
        assert state.size == size


@pytest.mark.parametrize("name", sorted(CASES))
def test_findings_are_those_of_an_audit_of_the_whole(name: str) -> None:
    builder, _ = CASES[name]()
    expected = [(each.kind, each.index) for each in audit(builder.source(), builder.verifier).findings]
    incremental = IncrementalAudit(builder.verifier)
    found = fed(incremental, builder, len(builder.entries), 3)
    found += [(each.kind, each.index) for each in incremental.check(builder.checkpoint())]
    conflicts = [place for place in expected if place[0] == "conflict" and place not in found]
    assert len(conflicts) <= len(incremental.not_checked)
    assert sorted(found, key=str) == sorted((each for each in expected if each not in conflicts), key=str)
    assert (incremental.state() is None) == bool(found)


def test_a_checkpoint_of_another_tree_is_found_and_nothing_is_kept() -> None:
    builder, key = begun()
    builder.batch(builder.open_chain(key), predictions(builder, 9))
    builder.block()
    other, _ = begun(2)
    while len(other.entries) < len(builder.entries):
        other.block()
    incremental = IncrementalAudit(builder.verifier)
    fed(incremental, builder, len(builder.entries), 100)
    assert [each.kind for each in incremental.check(other.checkpoint(signer=builder.signer))] == ["root"]
    assert incremental.state() is None
    stranger = Signer(builder.origin, other.new_key())
    assert [each.kind for each in incremental.check(builder.checkpoint(signer=stranger))] == ["checkpoint_signature"]
    with pytest.raises(ValueError, match="entries cannot be held against"):
        incremental.check(builder.checkpoint(4))


def test_bytes_that_are_no_entries_are_refused_and_nothing_is_taken() -> None:
    builder = grown(3, 4, 20)
    incremental = IncrementalAudit(builder.verifier)
    for wrong in (b"\x00", b"\x00\x00", packed.pack(builder.entries)[:-1]):
        with pytest.raises(MalformedBatchError):
            incremental.feed(wrong)
    assert incremental.size == 0
    assert fed(incremental, builder, len(builder.entries), 10_000) == []
