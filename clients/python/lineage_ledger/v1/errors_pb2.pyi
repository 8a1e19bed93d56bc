from google.protobuf import any_pb2 as _any_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_BATCH: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_ENTRY: _ClassVar[ErrorReason]
    ERROR_REASON_ENTRY_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_KIND_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_SEAL: _ClassVar[ErrorReason]
    ERROR_REASON_COUNT_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_ROOT_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_BINDING_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_TIME_RANGE_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_CHAIN_ID_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_NUMBER_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_LINK_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_SMALL_ORDER_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_ARGUMENT: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PAGE_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_ID: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_SIGNATURE: _ClassVar[ErrorReason]
    ERROR_REASON_UNKNOWN_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_RETIRED_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_COMPROMISED_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_ROLE_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_AUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_GAP: _ClassVar[ErrorReason]
    ERROR_REASON_CHAIN_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_SEQUENCE_CONFLICT: _ClassVar[ErrorReason]
    ERROR_REASON_PRODUCER_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_PREDICTION_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_INDEX_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_LIMIT_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_DISK_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_STOPPING: _ClassVar[ErrorReason]
    ERROR_REASON_INDEX_BEHIND: _ClassVar[ErrorReason]
    ERROR_REASON_READ_ONLY: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_WITNESSED: _ClassVar[ErrorReason]
    ERROR_REASON_CORRUPT: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_MALFORMED_BATCH: ErrorReason
ERROR_REASON_MALFORMED_ENTRY: ErrorReason
ERROR_REASON_ENTRY_TOO_LARGE: ErrorReason
ERROR_REASON_KIND_NOT_ALLOWED: ErrorReason
ERROR_REASON_MALFORMED_SEAL: ErrorReason
ERROR_REASON_COUNT_MISMATCH: ErrorReason
ERROR_REASON_ROOT_MISMATCH: ErrorReason
ERROR_REASON_BINDING_MISMATCH: ErrorReason
ERROR_REASON_TIME_RANGE_MISMATCH: ErrorReason
ERROR_REASON_CHAIN_ID_MISMATCH: ErrorReason
ERROR_REASON_NUMBER_MISMATCH: ErrorReason
ERROR_REASON_LINK_MISMATCH: ErrorReason
ERROR_REASON_SMALL_ORDER_KEY: ErrorReason
ERROR_REASON_INVALID_ARGUMENT: ErrorReason
ERROR_REASON_INVALID_PAGE_TOKEN: ErrorReason
ERROR_REASON_INVALID_ID: ErrorReason
ERROR_REASON_BAD_SIGNATURE: ErrorReason
ERROR_REASON_UNKNOWN_KEY: ErrorReason
ERROR_REASON_RETIRED_KEY: ErrorReason
ERROR_REASON_COMPROMISED_KEY: ErrorReason
ERROR_REASON_ROLE_REQUIRED: ErrorReason
ERROR_REASON_NOT_AUTHENTICATED: ErrorReason
ERROR_REASON_SEQUENCE_GAP: ErrorReason
ERROR_REASON_CHAIN_ENDED: ErrorReason
ERROR_REASON_SEQUENCE_CONFLICT: ErrorReason
ERROR_REASON_PRODUCER_EXISTS: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_PREDICTION_LOST: ErrorReason
ERROR_REASON_INDEX_OUT_OF_RANGE: ErrorReason
ERROR_REASON_LIMIT_EXCEEDED: ErrorReason
ERROR_REASON_DISK_FULL: ErrorReason
ERROR_REASON_STOPPING: ErrorReason
ERROR_REASON_INDEX_BEHIND: ErrorReason
ERROR_REASON_READ_ONLY: ErrorReason
ERROR_REASON_NOT_WITNESSED: ErrorReason
ERROR_REASON_CORRUPT: ErrorReason

class Status(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class ErrorInfo(_message.Message):
    __slots__ = ("reason", "domain", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    reason: str
    domain: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, reason: _Optional[str] = ..., domain: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...
