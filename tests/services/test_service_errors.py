"""Exceptions to statuses: every reason of the contract has one, and nothing else leaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lineage_ledger import errors
from lineage_ledger.v1 import entries_pb2, entries_pb2_grpc, errors_pb2
from lineage_ledger_server.errors import IndexOutOfRangeError, PredictionLostError, RefusedError
from lineage_ledger_server.services.access import ADMIN_POLICY
from lineage_ledger_server.services.errors import (
    DETAILS_KEY,
    ERROR_INFO_TYPE_URL,
    STATUS_OF_REASON,
    answer_to,
)
from lineage_ledger_server.serving.endpoint import Endpoint, Health


class Raising(entries_pb2_grpc.EntryServiceServicer):
    """Raises what the test put there."""

    error: Exception = RuntimeError()

    def GetEntry(self, request: Any, context: Any) -> Any:
        raise self.error

    def StreamEntries(self, request: Any, context: Any) -> Iterator[Any]:
        yield entries_pb2.StreamEntriesResponse(first_index=7)
        raise self.error


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Raising, entries_pb2_grpc.EntryServiceStub]]:
    server = Endpoint(ADMIN_POLICY, Health(), [], workers=2, max_calls=16)
    raising = Raising()
    server.add(entries_pb2_grpc.add_EntryServiceServicer_to_server, raising)
    port = server.bind("127.0.0.1:0", None)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield raising, entries_pb2_grpc.EntryServiceStub(channel)
    server.begin_stop(0).result()
    server.close()


def details_of(call: grpc.RpcError) -> tuple[errors_pb2.Status, list[errors_pb2.ErrorInfo]]:
    metadata: Any = call.trailing_metadata()
    status = errors_pb2.Status.FromString(dict(metadata)[DETAILS_KEY])
    assert all(detail.type_url == ERROR_INFO_TYPE_URL for detail in status.details)
    return status, [errors_pb2.ErrorInfo.FromString(detail.value) for detail in status.details]


def test_every_reason_has_a_status() -> None:
    names = {value.name.removeprefix("ERROR_REASON_") for value in errors_pb2.ErrorReason.DESCRIPTOR.values}
    assert set(STATUS_OF_REASON) == names - {"UNSPECIFIED"}


@pytest.mark.parametrize("reason", sorted(STATUS_OF_REASON))
def test_reason_travels(reason: str, served: tuple[Raising, Any]) -> None:
    raising, stub = served
    raising.error = RefusedError("what, to what", reason=reason, expected_number=12)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetEntry(entries_pb2.GetEntryRequest())
    assert caught.value.code() is STATUS_OF_REASON[reason]
    assert caught.value.details() == "what, to what"
    status, (info,) = details_of(caught.value)
    assert (status.code, status.message) == (STATUS_OF_REASON[reason].value[0], "what, to what")
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, "lineage-ledger", {"expected_number": "12"})


def test_stream_answers_after_its_messages(served: tuple[Raising, Any]) -> None:
    raising, stub = served
    raising.error = errors.CorruptError("entry 8 does not hash to its tile")
    call = stub.StreamEntries(entries_pb2.StreamEntriesRequest())
    assert next(call).first_index == 7
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert details_of(caught.value)[1][0].reason == "CORRUPT"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("secret of the inside"),
        KeyError("secret of the inside"),
        errors.SettingsError("secret of the inside"),
        RefusedError("secret of the inside", reason="NO_SUCH_REASON"),
    ],
)
def test_unexpected_is_internal_and_says_nothing(error: Exception, served: tuple[Raising, Any]) -> None:
    raising, stub = served
    raising.error = error
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetEntry(entries_pb2.GetEntryRequest())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert "incident" in str(caught.value.details())
    status, details = details_of(caught.value)
    assert "secret" not in status.message
    assert details == []


@pytest.mark.parametrize(
    ("error", "reason", "metadata"),
    [
        (errors.MalformedEntryError("m", place=3, offset=9), "MALFORMED_ENTRY", {"entry": "3", "offset": "9"}),
        (errors.MalformedBatchError("m", offset=4), "MALFORMED_BATCH", {"offset": "4"}),
        (errors.SmallOrderKeyError("m"), "SMALL_ORDER_KEY", {}),
        (errors.SignatureError("m"), "BAD_SIGNATURE", {}),
        (errors.SealError("m", reason="ROOT_MISMATCH"), "ROOT_MISMATCH", {}),
        (errors.MalformedError("m"), "INVALID_ARGUMENT", {}),
        (IndexOutOfRangeError("m", size=7), "INDEX_OUT_OF_RANGE", {"size": "7"}),
        (PredictionLostError("m", seal_index=5), "PREDICTION_LOST", {}),
    ],
)
def test_client_errors_have_reasons(error: Exception, reason: str, metadata: dict[str, str]) -> None:
    answer = answer_to(error)
    assert answer is not None
    assert (answer.reason, answer.metadata) == (reason, metadata)


def test_foreign_reason_attribute_is_not_believed() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "NOT_FOUND")  # has an attribute `reason` of its own
    assert answer_to(error) is None


def test_message_is_bounded() -> None:
    answer = answer_to(RefusedError("\u00e9" * 5_000, reason="NOT_FOUND"))
    assert answer is not None
    assert len(answer.message.encode()) <= 2_048
