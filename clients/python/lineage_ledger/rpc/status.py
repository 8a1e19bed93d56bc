"""From a failed call to an `RpcError` that says what the server said (errors.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from lineage_ledger.errors import RpcError
from lineage_ledger.v1 import errors_pb2

if TYPE_CHECKING:
    import grpc

REFUSALS = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"})
"""Statuses of a server that was reached and says no, as it would if it were asked again."""

_DETAILS_KEY = "grpc-status-details-bin"
_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN = "lineage-ledger"
_MAX_DETAILS_BYTES = 16 * 1024

_ADVICE = {
    "UNAVAILABLE": "is the server running, and is this its address?",
    "DEADLINE_EXCEEDED": "the server did not answer in time",
    "UNIMPLEMENTED": "is this a Lineage Ledger server, of this version?",
}


def rpc_error(path: str, target: str, error: grpc.RpcError) -> RpcError:
    """What `error`, raised by the call of `path` at `target`, means.

    Works for grpc's synchronous errors and for those of `grpc.aio`; both have the same three methods.
    """
    failed: Any = error
    status = failed.code().name
    reason, metadata = _error_info(failed.trailing_metadata() or ())
    details = (failed.details() or "").strip()
    name = path.rpartition("/")[2]
    message = f"{name} at {target}: {details or status}"
    if not reason and status in _ADVICE:
        message += f" ({_ADVICE[status]})"
    return RpcError(message, status=status, reason=reason, metadata=metadata)


def _error_info(trailing: Iterable[tuple[str, str | bytes]]) -> tuple[str, dict[str, str]]:
    """Reason and metadata of the first ErrorInfo of our domain; empty ones if there is none that can be read."""
    for key, value in trailing:
        if key != _DETAILS_KEY or not isinstance(value, bytes) or len(value) > _MAX_DETAILS_BYTES:
            continue
        try:
            for detail in errors_pb2.Status.FromString(value).details:
                if detail.type_url == _ERROR_INFO_URL:
                    info = errors_pb2.ErrorInfo.FromString(detail.value)
                    if info.domain == _DOMAIN:
                        return info.reason, dict(info.metadata)
        except DecodeError:
            continue
    return "", {}
