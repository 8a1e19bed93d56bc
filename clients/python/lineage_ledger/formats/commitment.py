"""Commitments: 32 bytes that bind a value and do not show it (proto/README.md, "Commitments").

A plain hash of an input with little entropy can be guessed; HMAC-SHA256 under a secret key cannot, and destroying the
key erases what the commitment says. Keys are derived from a period's or subject's key and never stored.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from lineage_ledger.errors import LineageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

COMMITMENT_BYTES: Final = 32
MIN_KEY_BYTES: Final = 16

_NONCE_CONTEXT: Final = b"lineage-ledger/nonce/v1\n"


class CommitmentError(LineageError, ValueError):
    """A key, role or counter with which a commitment would not hide or bind its value."""


def commit(value: ReadableBuffer, key: bytes) -> bytes:
    """HMAC-SHA256(key, value): a commitment of 32 bytes. `value` is anything contiguous: bytes, a view, an array.

    `key` holds at least 16 secret bytes, used for this value alone (`derive_key`). Raises `CommitmentError` for a
    shorter one.
    """
    if len(key) < MIN_KEY_BYTES:
        raise CommitmentError(f"the key is {len(key)} bytes; at least {MIN_KEY_BYTES} secret bytes are needed")
    try:
        return hmac.digest(key, value, "sha256")
    except OverflowError:  # The one-shot call takes less than 2 GiB.
        return hmac.new(key, value, hashlib.sha256).digest()


def derive_key(period_key: bytes, counter: bytes, role: str) -> bytes:
    """The key of 32 bytes for one value.

    It is HMAC-SHA256(period_key, "lineage-ledger/nonce/v1\\n" ‖ role ‖ "\\n" ‖ counter).
    `counter` must be unique under `period_key` (at least 16 secret bytes) and is kept where the value is to be opened
    later; `role` tells apart the values of one counter, such as "input" and "output". Raises `CommitmentError`.
    """
    if len(period_key) < MIN_KEY_BYTES:
        raise CommitmentError(f"the period key is {len(period_key)} bytes; at least {MIN_KEY_BYTES} are needed")
    if not role or "\n" in role:
        raise CommitmentError(f"the role {role!r} is empty or holds a newline, which ends it")
    if not counter:
        raise CommitmentError("the counter is empty; it must be unique under its period key")
    return hmac.digest(period_key, _NONCE_CONTEXT + role.encode() + b"\n" + counter, "sha256")


def opens(commitment: bytes, value: ReadableBuffer, key: bytes) -> bool:
    """Whether `commitment` was made of `value` with `key`; takes the same time wherever they differ."""
    return hmac.compare_digest(commitment, commit(value, key))
