"""How much of what compromised keys sealed is suspect: counted by the ledger's clock, and no finding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.audit import audit
from lineage_ledger.audit.suspects import BlockMarks
from tests.audit.ledger_builder import Builder, MemorySource, begun

_BLOCKS = 6


def _told(sizes: list[int], since_block: int) -> tuple[Builder, bytes, int]:
    """A batch of each size in a block of its own; the key is compromised at last, since the time of that block."""
    builder, key = begun()
    other = builder.new_key()
    builder.register(other)
    chain, others = builder.open_chain(key), builder.open_chain(other)
    times = []
    for size in sizes:
        statements = [builder.artifact()] if size % 2 else []
        builder.batch(chain, [*(builder.prediction() for _ in range(size)), *statements])
        builder.batch(others, [builder.prediction()])
        builder.block()
        times.append(builder.time_unix_ns)
    since = times[since_block] if since_block < len(times) else times[-1] + 1
    builder.compromise(key, since_unix_ns=since)
    builder.block()
    return builder, key.public_key, since


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=_BLOCKS), st.integers(0, _BLOCKS))
def test_what_came_on_record_since_then_is_counted(sizes, since_block):
    builder, public_key, since = _told(sizes, since_block)
    report = audit(builder.source(), builder.verifier)
    assert report.exit_status == 0
    (suspect,) = report.suspect
    assert (suspect.public_key, suspect.suspect_since_unix_ns) == (public_key.hex(), since)
    late = sizes[since_block:]
    assert (suspect.predictions, suspect.statements) == (sum(late), sum(size % 2 for size in late))
    assert report.document()["suspect"][0]["predictions"] == sum(late)


def test_without_a_compromised_key_there_is_no_second_look(monkeypatch):
    builder, key = begun()
    builder.batch(builder.open_chain(key), [builder.prediction()])
    builder.retire(key, 10)
    builder.block()
    looked: list[int] = []
    read = MemorySource.bundle

    def noted(self: MemorySource, number: int) -> object:
        looked.append(number)
        return read(self, number)

    monkeypatch.setattr(MemorySource, "bundle", noted)
    assert audit(builder.source(), builder.verifier).suspect == []
    assert looked
    assert len(looked) == len(set(looked))


@pytest.mark.parametrize("count", [0, 1, 1_000, 5_000])
def test_marks_are_few_and_never_too_late(count):
    marks = BlockMarks()
    for number in range(count):
        marks.note(10 * number, number)
    assert len(marks._marks) <= 1_024
    for time in (0, 1, 5_001, 10 * count + 1):
        found = marks.before(time)
        assert found == 0 or 10 * found < time
    if count == 5_000:
        assert marks.before(10 * count) > 4_900
