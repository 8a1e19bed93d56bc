"""Text forms that notes, checkpoints, keys, paths and receipts share; each value has exactly one."""

from __future__ import annotations

import binascii
import re

from lineage_ledger.errors import MalformedError

MAX_DECIMAL = 2**63 - 1
"""Greatest number in text; other tools keep sizes and times as signed 64-bit integers."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def encode_base64(value: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The bytes whose `encode_base64` is `text`; raises `MalformedError`, which does not show the text."""
    try:
        value = binascii.a2b_base64(text)
    except (binascii.Error, ValueError):
        # From None: the text may be a key.
        raise MalformedError("not standard base64 with padding") from None
    # It passes over what is no base64; what comes back as it was had nothing of that, and no bits left over.
    if encode_base64(value) != text:
        raise MalformedError("not standard base64 with padding, or with bits or bytes left over")
    return value


def parse_decimal(text: str) -> int:
    """The number, 0 to 2^63 - 1, that `text` is in ASCII digits without leading zeros; raises `MalformedError`."""
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > MAX_DECIMAL:
        raise MalformedError(f"{text[:32]!r} is not a decimal number below 2^63 without leading zeros")
    return number
