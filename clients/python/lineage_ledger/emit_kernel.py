"""What a producer does for single predictions: commitments, and the hot path of `emit`.

In C (`_kernel_emit.c`) where `lineage_ledger.kernel` is in C, else in Python, with the same results and the same
refusals.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lineage_ledger import kernel
from lineage_ledger.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer


def _choose() -> tuple[str, Any]:
    if kernel.KERNEL == "c":
        try:
            return "c", import_module("lineage_ledger._kernel_emit")
        except ImportError as error:
            if os.environ.get("LINEAGE_KERNEL") == "c":
                raise SettingsError(f"LINEAGE_KERNEL is c, but the C kernel cannot be loaded: {error}") from error
    return "python", import_module("lineage_ledger._emit_python")


if TYPE_CHECKING:
    from lineage_ledger import _emit_python as _kernel  # the extension has the same functions

    KERNEL: str
else:
    KERNEL, _kernel = _choose()

hmac_sha256 = _kernel.hmac_sha256
"""HMAC-SHA256 (RFC 2104) of a key and a value; 32 bytes. Not wrapped: it is called for single values."""


def commitments(
    period_key: bytes,
    context: bytes,
    counters: Sequence[ReadableBuffer] | ReadableBuffer,
    values: Sequence[ReadableBuffer] | ReadableBuffer,
    count: int,
) -> bytes:
    """HMAC-SHA256(HMAC-SHA256(period_key, context ‖ counter), value) for `count` counters and values; 32 bytes each.

    Counters and values are a sequence of buffers, or one buffer that is cut into `count` rows of one length. Raises
    ValueError if there are not `count`, or the buffer cannot be cut so; BufferError if one is not contiguous.
    """
    return _kernel.commitments(period_key, context, counters, values, count)
