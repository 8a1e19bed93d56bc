"""Errors to gRPC statuses, in this one place (the contract is in errors.proto).

Services raise; they never abort a call themselves. An exception with an attribute `reason`, the name of an
`ErrorReason` without its prefix, becomes the status of that reason, with the reason and the exception's `metadata` in
the trailing metadatum `grpc-status-details-bin`. Anything else is a defect of ours: INTERNAL, with an incident number
that the log has too, and nothing from the inside.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage

from lineage_ledger import errors
from lineage_ledger.v1 import errors_pb2

DOMAIN = "lineage-ledger"
DETAILS_KEY = "grpc-status-details-bin"
ERROR_INFO_TYPE_URL = "type.googleapis.com/google.rpc.ErrorInfo"
MAX_MESSAGE_BYTES = 2_048  # trailing metadata share one frame budget of 8 KiB with many clients

_PREFIX = "ERROR_REASON_"
_GROUPS: Mapping[grpc.StatusCode, tuple[str, ...]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (
        "MALFORMED_BATCH",
        "MALFORMED_ENTRY",
        "ENTRY_TOO_LARGE",
        "KIND_NOT_ALLOWED",
        "MALFORMED_SEAL",
        "COUNT_MISMATCH",
        "ROOT_MISMATCH",
        "BINDING_MISMATCH",
        "TIME_RANGE_MISMATCH",
        "CHAIN_ID_MISMATCH",
        "NUMBER_MISMATCH",
        "LINK_MISMATCH",
        "SMALL_ORDER_KEY",
        "INVALID_ARGUMENT",
        "INVALID_PAGE_TOKEN",
        "INVALID_ID",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        "BAD_SIGNATURE",
        "UNKNOWN_KEY",
        "RETIRED_KEY",
        "COMPROMISED_KEY",
        "ROLE_REQUIRED",
    ),
    grpc.StatusCode.UNAUTHENTICATED: ("NOT_AUTHENTICATED",),
    grpc.StatusCode.FAILED_PRECONDITION: ("SEQUENCE_GAP", "CHAIN_ENDED"),
    grpc.StatusCode.ABORTED: ("SEQUENCE_CONFLICT",),
    grpc.StatusCode.ALREADY_EXISTS: ("PRODUCER_EXISTS",),
    grpc.StatusCode.NOT_FOUND: ("NOT_FOUND", "PREDICTION_LOST"),
    grpc.StatusCode.OUT_OF_RANGE: ("INDEX_OUT_OF_RANGE",),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("LIMIT_EXCEEDED",),
    grpc.StatusCode.UNAVAILABLE: ("DISK_FULL", "STOPPING", "INDEX_BEHIND", "READ_ONLY", "NOT_WITNESSED"),
    grpc.StatusCode.DATA_LOSS: ("CORRUPT",),
}
STATUS_OF_REASON: Mapping[str, grpc.StatusCode] = {
    reason: status for status, reasons in _GROUPS.items() for reason in reasons
}

# Exceptions of the client package know nothing of gRPC reasons; the most special class comes first.
_REASON_OF_TYPE: tuple[tuple[type[errors.LineageError], str], ...] = (
    (errors.MalformedBatchError, "MALFORMED_BATCH"),
    (errors.MalformedEntryError, "MALFORMED_ENTRY"),
    (errors.SmallOrderKeyError, "SMALL_ORDER_KEY"),
    (errors.InvalidKeyError, "INVALID_ARGUMENT"),
    (errors.SignatureError, "BAD_SIGNATURE"),
    (errors.CorruptError, "CORRUPT"),
    (errors.MalformedError, "INVALID_ARGUMENT"),
)

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]
else:  # generic for the type checker only
    Context = grpc.aio.ServicerContext

_log = structlog.get_logger(__name__)


class Caller(Protocol):
    """What a service knows of the call that it answers (`calls.Call`)."""

    def is_active(self) -> bool: ...
    def time_remaining(self) -> float | None: ...


class CallEndedError(errors.LineageError):
    """The caller is gone, or its deadline has passed; whoever works for it stops by raising this."""


def check_active(call: Caller) -> None:
    """Raises `CallEndedError` if nobody waits for the answer any more. For loops."""
    if not call.is_active():
        raise CallEndedError("the call was cancelled or its deadline has passed")


class Answer(NamedTuple):
    """What a failed call is answered with."""

    status: grpc.StatusCode
    message: str
    reason: str
    metadata: Mapping[str, str]

    def details(self) -> bytes:
        """Serialised google.rpc.Status with its one ErrorInfo, as errors.proto says; none if there is no reason."""
        details = []
        if self.reason:
            info = errors_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=dict(self.metadata))
            details.append(AnyMessage(type_url=ERROR_INFO_TYPE_URL, value=info.SerializeToString(deterministic=True)))
        code = self.status.value[0]
        return errors_pb2.Status(code=code, message=self.message, details=details).SerializeToString()


def answer_to(error: BaseException) -> Answer | None:
    """The answer to `error`; None if it is not one of those that callers are told about."""
    if isinstance(error, CallEndedError):
        return Answer(grpc.StatusCode.CANCELLED, str(error), "", {})
    reason = _reason_of(error)
    status = STATUS_OF_REASON.get(reason)
    if status is None:
        return None
    return Answer(status, _bounded(str(error)), reason, _metadata_of(error))


async def abort(context: Context, error: Exception) -> NoReturn:
    """Ends the call with the status of `error`. Always raises, as gRPC's abort does."""
    answer = answer_to(error)
    if answer is None:
        incident = secrets.token_hex(8)
        _log.error("call failed unexpectedly", incident=incident, exc_info=error)
        answer = Answer(
            grpc.StatusCode.INTERNAL, f"internal error; the server's log has it under incident {incident}", "", {}
        )
    elif answer.status is grpc.StatusCode.DATA_LOSS:
        _log.error("stored bytes are corrupt; not served", error=answer.message, **answer.metadata)
    await context.abort(answer.status, answer.message, ((DETAILS_KEY, answer.details()),))
    raise error  # not reached, which the stubs do not say


def _reason_of(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(error, errors.LineageError) and isinstance(reason, str):
        return reason.removeprefix(_PREFIX)
    for kind, name in _REASON_OF_TYPE:
        if isinstance(error, kind):
            return name
    return ""


def _metadata_of(error: BaseException) -> dict[str, str]:
    metadata = {str(name): str(value) for name, value in (getattr(error, "metadata", None) or {}).items()}
    if isinstance(error, errors.MalformedEntryError):
        metadata |= {"entry": str(error.place), "offset": str(error.offset)}
    elif isinstance(error, errors.MalformedBatchError):
        metadata |= {"offset": str(error.offset)}
    return metadata


def _bounded(message: str) -> str:
    """Cut to MAX_MESSAGE_BYTES of UTF-8: a status message travels in a header."""
    encoded = message.encode("utf-8", "replace")
    return encoded[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
