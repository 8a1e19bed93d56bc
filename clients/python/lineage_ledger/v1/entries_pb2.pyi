from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetEntryRequest(_message.Message):
    __slots__ = ("index",)
    INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    def __init__(self, index: _Optional[int] = ...) -> None: ...

class GetEntryResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    def __init__(self, entry: _Optional[bytes] = ...) -> None: ...

class StreamEntriesRequest(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class StreamEntriesResponse(_message.Message):
    __slots__ = ("first_index", "packed", "count")
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first_index: int
    packed: bytes
    count: int
    def __init__(self, first_index: _Optional[int] = ..., packed: _Optional[bytes] = ..., count: _Optional[int] = ...) -> None: ...

class GetPredictionRequest(_message.Message):
    __slots__ = ("prediction_id",)
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    def __init__(self, prediction_id: _Optional[str] = ...) -> None: ...

class GetPredictionResponse(_message.Message):
    __slots__ = ("prediction",)
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    prediction: LoggedPrediction
    def __init__(self, prediction: _Optional[_Union[LoggedPrediction, _Mapping]] = ...) -> None: ...

class LoggedPrediction(_message.Message):
    __slots__ = ("prediction_id", "index", "entry", "seal_index", "public_key", "deployment_hash", "batch_proof", "chain_nonce")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    BATCH_PROOF_FIELD_NUMBER: _ClassVar[int]
    CHAIN_NONCE_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    index: int
    entry: bytes
    seal_index: int
    public_key: bytes
    deployment_hash: bytes
    batch_proof: _containers.RepeatedScalarFieldContainer[bytes]
    chain_nonce: bytes
    def __init__(self, prediction_id: _Optional[str] = ..., index: _Optional[int] = ..., entry: _Optional[bytes] = ..., seal_index: _Optional[int] = ..., public_key: _Optional[bytes] = ..., deployment_hash: _Optional[bytes] = ..., batch_proof: _Optional[_Iterable[bytes]] = ..., chain_nonce: _Optional[bytes] = ...) -> None: ...

class FindPredictionsRequest(_message.Message):
    __slots__ = ("request_id", "from_time_unix_ns", "until_time_unix_ns", "public_key", "deployment_hash", "page_size", "page_token")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    from_time_unix_ns: int
    until_time_unix_ns: int
    public_key: bytes
    deployment_hash: bytes
    page_size: int
    page_token: str
    def __init__(self, request_id: _Optional[bytes] = ..., from_time_unix_ns: _Optional[int] = ..., until_time_unix_ns: _Optional[int] = ..., public_key: _Optional[bytes] = ..., deployment_hash: _Optional[bytes] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class FindPredictionsResponse(_message.Message):
    __slots__ = ("predictions", "next_page_token", "indexed_size")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INDEXED_SIZE_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[LoggedPrediction]
    next_page_token: str
    indexed_size: int
    def __init__(self, predictions: _Optional[_Iterable[_Union[LoggedPrediction, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., indexed_size: _Optional[int] = ...) -> None: ...
