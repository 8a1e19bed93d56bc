"""Packed bytes split into exactly what was packed, or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedBatchError, MalformedEntryError
from lineage_ledger.formats import packed

ENTRIES = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


@given(entries=ENTRIES)
def test_split_undoes_pack(entries: list[bytes]) -> None:
    data = packed.pack(entries)
    assert packed.split(data) == entries == list(packed.iterate(data))
    assert [packed.entry_at(data, place) for place in range(len(entries))] == entries
    assert [data[offset : offset + length] for offset, length in packed.spans(data)] == entries
    for place in (-1, len(entries)):
        with pytest.raises(IndexError):
            packed.entry_at(data, place)


@given(data=st.binary(max_size=400))
def test_whatever_splits_packs_to_the_same_bytes(data: bytes) -> None:
    try:
        entries = packed.split(data)
    except MalformedBatchError:
        return
    assert packed.pack(entries) == data


def test_the_form_of_two_entries() -> None:
    assert packed.pack([b"a", b"bc"]) == b"\0\1a\0\2bc"
    assert packed.pack([]) == b""
    longest = b"x" * 65_535
    assert packed.split(packed.frame(longest)) == [longest]


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"\0", 0),
        (b"\0\0", 0),
        (b"\0\1", 0),
        (b"\0\1a\0", 3),
        (b"\0\1a\0\0", 3),
        (b"\0\1a\0\2b", 3),
        (b"\xff\xff" + b"x" * 65_534, 0),
    ],
)
def test_what_does_not_split(data: bytes, offset: int) -> None:
    with pytest.raises(MalformedBatchError, match=f"^byte {offset}: ") as refusal:
        packed.split(data)
    assert refusal.value.offset == offset
    with pytest.raises(MalformedBatchError):
        packed.entry_at(data, 5)


@pytest.mark.parametrize("entry", [b"", b"x" * 65_536])
def test_what_cannot_be_packed(entry: bytes) -> None:
    with pytest.raises(MalformedEntryError, match=f"^place 2: an entry of {len(entry)} bytes") as refusal:
        packed.pack([b"a", b"b", entry])
    assert refusal.value.place == 2
