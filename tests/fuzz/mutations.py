"""Inputs made of the corpus: by hypothesis, and every one-byte change of a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

_BYTES = (0x00, 0x0A, 0x20, 0x30, 0x7F, 0x80, 0xFF)


def one_byte_changes(seed: bytes, most: int) -> Iterator[bytes]:
    """At most `most` of the ways to change, remove or add one byte; the same ones each time."""
    places = len(seed) + 1
    kinds = 3 + len(_BYTES)
    changes: Sequence[int] = range(kinds * places)
    if len(changes) > most:
        changes = random.Random(len(seed)).sample(changes, most)
    for change in changes:
        place, kind = divmod(change, kinds)
        before, byte, after = seed[:place], seed[place : place + 1], seed[place + 1 :]
        if kind == 0:
            yield before + after
        elif kind == 1:
            yield before + byte + byte + after
        elif kind == 2:
            yield before + bytes([(byte or b"\0")[0] ^ 1 << place % 8]) + after
        else:
            yield before + bytes([_BYTES[kind - 3]]) + after


@st.composite
def changed(draw: st.DrawFn, seeds: Sequence[bytes], max_bytes: int) -> bytes:
    """A seed with a few pieces of it replaced, removed, repeated, moved, or taken from another seed."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 64)))
        other = draw(st.sampled_from(seeds))
        at = draw(st.integers(0, len(other)))
        piece = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from([b"\n", b"\n\n", b" ", b"0", b"=", b"\0", b"\xff", b"\x80\x00", b"\xff" * 9 + b"\x01"]),
                st.just(other[at : at + 48]),
                st.just(data[start:end] * 2),
            )
        )
        data = data[:start] + piece + data[end:]
    return data[:max_bytes]
