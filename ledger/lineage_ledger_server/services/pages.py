"""Page tokens: where an answer goes on. Opaque to callers; bound to the criteria that they were given out for.

    base64url, not padded, of: 0x01 ‖ SHA-256(criteria)[:16] ‖ numbers as u64be

Nothing secret is in a token and nothing is trusted that is: whoever makes one up can only ask for another place of an
answer that is theirs to ask for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message

from lineage_ledger_server.errors import RefusedError

_VERSION = b"\x01"
_DIGEST_BYTES = 16
_NUMBER_BYTES = 8

RequestT = TypeVar("RequestT", bound=Message)


def page_size(wanted: int, default: int, most: int) -> int:
    """The size of a page: what is wanted, but at most `most`; `default` for 0."""
    return min(wanted or default, most)


def encode_token(request: Message, numbers: Sequence[int]) -> str:
    """The token for the page after the one that answers `request`."""
    raw = _VERSION + _digest(request) + b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_token(token: str, request: Message, count: int) -> tuple[int, ...]:
    """The `count` numbers in `token`, which was given out for the criteria of `request`.

    Raises RefusedError (INVALID_PAGE_TOKEN) for anything else.
    """
    raw = _decode(token, 1 + _DIGEST_BYTES + count * _NUMBER_BYTES)
    if raw is None:
        raise RefusedError(
            "page_token is not one that this service gave out; begin again without it", reason="INVALID_PAGE_TOKEN"
        )
    if raw[1 : 1 + _DIGEST_BYTES] != _digest(request):
        raise RefusedError(
            "page_token was given out for other criteria; send the same request with it, or begin again without it",
            reason="INVALID_PAGE_TOKEN",
        )
    numbers = raw[1 + _DIGEST_BYTES :]
    return tuple(
        int.from_bytes(numbers[at : at + _NUMBER_BYTES], "big") for at in range(0, len(numbers), _NUMBER_BYTES)
    )


def _decode(token: str, length: int) -> bytes | None:
    """The bytes that have `token` as their one encoding, if they have the length and begin as they must."""
    try:
        encoded = token.encode("ascii")
        raw = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return None
    if len(raw) != length or raw[:1] != _VERSION or base64.urlsafe_b64encode(raw).rstrip(b"=") != encoded:
        return None
    return raw


def _digest(request: Message) -> bytes:
    """Of all that a request asks for, but not of how it is cut into pages."""
    criteria = type(request)()
    criteria.CopyFrom(request)
    criteria.DiscardUnknownFields()
    criteria.ClearField("page_size")
    criteria.ClearField("page_token")
    name = type(request).DESCRIPTOR.full_name.encode()
    return hashlib.sha256(name + b"\n" + criteria.SerializeToString(deterministic=True)).digest()[:_DIGEST_BYTES]
