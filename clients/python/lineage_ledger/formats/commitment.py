"""Commitments: 32 bytes that bind a value and do not show it (proto/README.md, "Commitments").

A plain hash of an input with little entropy can be guessed; HMAC-SHA256 under a secret key cannot, and destroying the
key erases what the commitment says. Keys are derived from a period's or subject's key and never stored.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, cast

from lineage_ledger import emit_kernel
from lineage_ledger.errors import LineageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer

COMMITMENT_BYTES: Final = 32
MIN_KEY_BYTES: Final = 16

_NONCE_CONTEXT: Final = b"lineage-ledger/nonce/v1\n"
_EMPTY_COUNTER: Final = "a counter is empty; it must be unique under its period key"


class CommitmentError(LineageError, ValueError):
    """A key, role or counter with which a commitment would not hide or bind its value."""


def commit(value: ReadableBuffer, key: bytes) -> bytes:
    """HMAC-SHA256(key, value): a commitment of 32 bytes. `value` is anything contiguous: bytes, a view, an array.

    `key` holds at least 16 secret bytes, used for this value alone (`derive_key`). Raises `CommitmentError` for a
    shorter one.
    """
    if len(key) < MIN_KEY_BYTES:
        raise CommitmentError(f"the key is {len(key)} bytes; at least {MIN_KEY_BYTES} secret bytes are needed")
    return emit_kernel.hmac_sha256(key, value)


def derive_key(period_key: bytes, counter: bytes, role: str) -> bytes:
    """The key of 32 bytes for one value.

    It is HMAC-SHA256(period_key, "lineage-ledger/nonce/v1\\n" ‖ role ‖ "\\n" ‖ counter).
    `counter` must be unique under `period_key` (at least 16 secret bytes) and is kept where the value is to be opened
    later; `role` tells apart the values of one counter, such as "input" and "output". Raises `CommitmentError`.
    """
    context = _context(period_key, role)
    if not counter:
        raise CommitmentError(_EMPTY_COUNTER)
    return emit_kernel.hmac_sha256(period_key, context + counter)


def commit_many(
    values: Sequence[ReadableBuffer] | ReadableBuffer,
    period_key: bytes,
    counters: Sequence[ReadableBuffer] | ReadableBuffer,
    role: str,
) -> bytes:
    """`commit(value, derive_key(period_key, counter, role))` of each value and its counter, 32 bytes each, in order.

    `values` is a list of buffers of any lengths, or a contiguous array whose first dimension counts them (a view of
    shape (n, size), such as an array of numpy). `counters` is a list of buffers, or one contiguous buffer of n
    counters of the same length. Other threads run meanwhile. Raises `CommitmentError`, or BufferError for an array
    that is not contiguous.
    """
    context = _context(period_key, role)
    count = len(values) if isinstance(values, list | tuple) else _rows(memoryview(cast("ReadableBuffer", values)))
    if isinstance(counters, list | tuple):
        has_empty = not all(map(len, counters))
    else:
        has_empty = count > 0 and not memoryview(cast("ReadableBuffer", counters)).nbytes
    if has_empty:
        raise CommitmentError(_EMPTY_COUNTER)
    try:
        return emit_kernel.commitments(period_key, context, counters, values, count)
    except ValueError as error:
        raise CommitmentError(f"{count} values need as many counters: {error}") from error


def _context(period_key: bytes, role: str) -> bytes:
    """What comes before the counter."""
    if len(period_key) < MIN_KEY_BYTES:
        raise CommitmentError(f"the period key is {len(period_key)} bytes; at least {MIN_KEY_BYTES} are needed")
    if not role or "\n" in role:
        raise CommitmentError(f"the role {role!r} is empty or holds a newline, which ends it")
    return _NONCE_CONTEXT + role.encode() + b"\n"


def _rows(array: memoryview) -> int:
    if not array.ndim or (array.ndim == 1 and array.itemsize == 1):
        raise CommitmentError(
            "flat bytes do not say how many values they are; give a list, or a view of two dimensions"
        )
    assert array.shape is not None
    return array.shape[0]


def opens(commitment: bytes, value: ReadableBuffer, key: bytes) -> bool:
    """Whether `commitment` was made of `value` with `key`; takes the same time wherever they differ."""
    return hmac.compare_digest(commitment, commit(value, key))
