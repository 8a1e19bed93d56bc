"""Commitments in Python, for a machine without a compiler; also what those in C are held against."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer


def hmac_sha256(key: ReadableBuffer, value: ReadableBuffer) -> bytes:
    """See `lineage_ledger.emit_kernel.hmac_sha256`."""
    secret = bytes(_flat(key))
    try:
        return hmac.digest(secret, _flat(value), "sha256")
    except OverflowError:  # The one-shot call takes less than 2 GiB.
        return hmac.new(secret, _flat(value), sha256).digest()


def commitments(
    period_key: bytes,
    context: bytes,
    counters: Sequence[ReadableBuffer] | ReadableBuffer,
    values: Sequence[ReadableBuffer] | ReadableBuffer,
    count: int,
) -> bytes:
    """See `lineage_ledger.emit_kernel.commitments`."""
    if count < 0:
        raise ValueError(f"there cannot be {count} of them")
    keys = [hmac_sha256(period_key, context + bytes(counter)) for counter in _pieces(counters, count)]
    return b"".join([hmac_sha256(key, value) for key, value in zip(keys, _pieces(values, count), strict=True)])


def _flat(buffer: ReadableBuffer) -> memoryview:
    """Its bytes. Raises BufferError if they are not contiguous, as the C kernel does."""
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise BufferError("the buffer is not C-contiguous")
    return view.cast("B") if view.nbytes else memoryview(b"")  # Nothing cannot be cast if it has two dimensions.


def _pieces(several: Sequence[ReadableBuffer] | ReadableBuffer, count: int) -> list[memoryview]:
    try:
        view = _flat(cast("ReadableBuffer", several))
    except TypeError:
        pieces = [_flat(piece) for piece in cast("Sequence[ReadableBuffer]", several)]
        if len(pieces) != count:
            raise ValueError(f"there are {len(pieces)} of them, not {count}") from None
        return pieces
    if view.nbytes % count if count else view.nbytes:
        raise ValueError(f"{view.nbytes} bytes are not {count} rows of one length")
    size = view.nbytes // count if count else 0
    return [view[place * size : place * size + size] for place in range(count)]
