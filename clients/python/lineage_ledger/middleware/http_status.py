"""HTTP statuses as google.rpc.Code, which is what a prediction records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
FAILED_PRECONDITION: Final = 9
INTERNAL: Final = 13

# google/rpc/code.proto names an HTTP status for each code; this is the way back, and what model servers use besides.
_CODES: Final[Mapping[int, int]] = {
    400: INVALID_ARGUMENT,
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    408: 4,  # DEADLINE_EXCEEDED
    409: 10,  # ABORTED
    413: 8,  # RESOURCE_EXHAUSTED
    416: 11,  # OUT_OF_RANGE
    422: INVALID_ARGUMENT,
    429: 8,  # RESOURCE_EXHAUSTED
    499: CANCELLED,
    500: INTERNAL,
    501: 12,  # UNIMPLEMENTED
    503: 14,  # UNAVAILABLE
    504: 4,  # DEADLINE_EXCEEDED
}


def rpc_code(status: object) -> int:
    """The google.rpc.Code, 0 to 16, of an HTTP status; UNKNOWN for what is none."""
    if not isinstance(status, int) or not 100 <= status < 600:
        return UNKNOWN
    if status < 400:
        return OK
    return _CODES.get(status, FAILED_PRECONDITION if status < 500 else INTERNAL)
