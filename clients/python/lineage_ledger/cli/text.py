"""Values as text for people. Pure."""

from __future__ import annotations

import json
import re
from typing import Final

_SHORT_HEX: Final = 16
_LINE_ENDS: Final = re.compile(r"[ \t\r\n]*[\t\r\n][ \t\r\n]*")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def safe(text: str, limit: int = 0) -> str:
    """`text` without power over a terminal: what is not printable is written as an escape such as `\\x1b`.

    That is every control character, line ends and tabs too, every bidirectional override, invisible character and
    lone surrogate, and every space but the common one: a name in the ledger is whatever a producer chose. With
    `limit`, what is longer ends in "…" after so many characters.
    """
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def short_digest(digest: str) -> str:
    """A digest's text with its first 16 hex digits only; the whole is in `--json`, and in `lineage show`."""
    name, colon, digits = digest.rpartition(":")
    return f"{name}{colon}{digits[:_SHORT_HEX]}…" if len(digits) > _SHORT_HEX else digest


def byte_size(size_bytes: int) -> str:
    """Such as "312 B" or "1.5 MiB"."""
    value, unit = float(size_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(duration_us: int) -> str:
    """Such as "35 µs", "1.2 ms" or "3.4 s"."""
    if duration_us < 1_000:
        return f"{duration_us} µs"
    return f"{duration_us / 1_000:.1f} ms" if duration_us < 1_000_000 else f"{duration_us / 1_000_000:.1f} s"


def plural(count: int, singular: str, plural_form: str = "") -> str:
    """Such as "1 entry" or "2,000 entries"."""
    return f"{count:,} {singular if count == 1 else plural_form or singular + 's'}"


def bytes_as_text(hexadecimal: str) -> str:
    """Bytes given as hex as the ASCII text that they are, if they are one; else the hex."""
    value = bytes.fromhex(hexadecimal)
    return value.decode("ascii") if value.isascii() and value.decode("ascii").isprintable() else hexadecimal


def json_as_text(hexadecimal: str) -> str:
    """Bytes given as hex as the text that they are, on one line, if they are JSON in UTF-8; else the hex.

    It is the text itself and no rendering of its values, so that a name that comes twice is seen twice.
    """
    value = bytes.fromhex(hexadecimal)
    try:
        text = value.decode()
        json.loads(text)
    except (ValueError, RecursionError):  # Not UTF-8, not JSON, numbers or nesting beyond what is reasonable.
        return hexadecimal
    # JSON holds line ends and tabs between its values only, never inside a string.
    return _LINE_ENDS.sub(" ", text.strip(" \t\r\n"))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
