from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProducerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRODUCER_STATE_UNSPECIFIED: _ClassVar[ProducerState]
    PRODUCER_STATE_ACTIVE: _ClassVar[ProducerState]
    PRODUCER_STATE_RETIRED: _ClassVar[ProducerState]
    PRODUCER_STATE_COMPROMISED: _ClassVar[ProducerState]
PRODUCER_STATE_UNSPECIFIED: ProducerState
PRODUCER_STATE_ACTIVE: ProducerState
PRODUCER_STATE_RETIRED: ProducerState
PRODUCER_STATE_COMPROMISED: ProducerState

class RegisterProducerRequest(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    def __init__(self, entry: _Optional[bytes] = ...) -> None: ...

class RegisterProducerResponse(_message.Message):
    __slots__ = ("index", "checkpoint")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    index: int
    checkpoint: bytes
    def __init__(self, index: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class RetireProducerRequest(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    def __init__(self, entry: _Optional[bytes] = ...) -> None: ...

class RetireProducerResponse(_message.Message):
    __slots__ = ("index", "checkpoint")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    index: int
    checkpoint: bytes
    def __init__(self, index: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class CompromiseProducerRequest(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    def __init__(self, entry: _Optional[bytes] = ...) -> None: ...

class CompromiseProducerResponse(_message.Message):
    __slots__ = ("index", "checkpoint")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    index: int
    checkpoint: bytes
    def __init__(self, index: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class ChangeLedgerKeyRequest(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    def __init__(self, entry: _Optional[bytes] = ...) -> None: ...

class ChangeLedgerKeyResponse(_message.Message):
    __slots__ = ("index", "checkpoint")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    index: int
    checkpoint: bytes
    def __init__(self, index: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class Producer(_message.Message):
    __slots__ = ("public_key", "name", "state", "registered_index", "ended_index", "last_block", "suspect_since_unix_ns")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_INDEX_FIELD_NUMBER: _ClassVar[int]
    ENDED_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_SINCE_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    name: str
    state: ProducerState
    registered_index: int
    ended_index: int
    last_block: int
    suspect_since_unix_ns: int
    def __init__(self, public_key: _Optional[bytes] = ..., name: _Optional[str] = ..., state: _Optional[_Union[ProducerState, str]] = ..., registered_index: _Optional[int] = ..., ended_index: _Optional[int] = ..., last_block: _Optional[int] = ..., suspect_since_unix_ns: _Optional[int] = ...) -> None: ...

class ListProducersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProducersResponse(_message.Message):
    __slots__ = ("producers", "next_page_token")
    PRODUCERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    producers: _containers.RepeatedCompositeFieldContainer[Producer]
    next_page_token: str
    def __init__(self, producers: _Optional[_Iterable[_Union[Producer, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatisticsResponse(_message.Message):
    __slots__ = ("origin", "tree_size", "block_number", "block_time_unix_ns", "producers", "chains", "batches", "predictions", "lost", "indexed_size", "log_bytes", "index_bytes", "log_map_bytes", "append_streams", "max_append_streams", "writable", "not_writable_reason", "kernel", "witnessed_size", "witnesses_required", "witnesses", "readers_serving", "readers", "log_use", "index_use", "oldest_read_commits", "pending_bytes", "max_pending_bytes", "memory_bytes", "index_work", "index_error")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_NUMBER_FIELD_NUMBER: _ClassVar[int]
    BLOCK_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    PRODUCERS_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    INDEXED_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOG_MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    APPEND_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_APPEND_STREAMS_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    NOT_WRITABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    WITNESSED_SIZE_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    READERS_SERVING_FIELD_NUMBER: _ClassVar[int]
    READERS_FIELD_NUMBER: _ClassVar[int]
    LOG_USE_FIELD_NUMBER: _ClassVar[int]
    INDEX_USE_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READ_COMMITS_FIELD_NUMBER: _ClassVar[int]
    PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    INDEX_WORK_FIELD_NUMBER: _ClassVar[int]
    INDEX_ERROR_FIELD_NUMBER: _ClassVar[int]
    origin: str
    tree_size: int
    block_number: int
    block_time_unix_ns: int
    producers: int
    chains: int
    batches: int
    predictions: int
    lost: int
    indexed_size: int
    log_bytes: int
    index_bytes: int
    log_map_bytes: int
    append_streams: int
    max_append_streams: int
    writable: bool
    not_writable_reason: str
    kernel: str
    witnessed_size: int
    witnesses_required: bool
    witnesses: _containers.RepeatedCompositeFieldContainer[Witness]
    readers_serving: int
    readers: int
    log_use: LogUse
    index_use: IndexUse
    oldest_read_commits: int
    pending_bytes: int
    max_pending_bytes: int
    memory_bytes: int
    index_work: IndexWork
    index_error: str
    def __init__(self, origin: _Optional[str] = ..., tree_size: _Optional[int] = ..., block_number: _Optional[int] = ..., block_time_unix_ns: _Optional[int] = ..., producers: _Optional[int] = ..., chains: _Optional[int] = ..., batches: _Optional[int] = ..., predictions: _Optional[int] = ..., lost: _Optional[int] = ..., indexed_size: _Optional[int] = ..., log_bytes: _Optional[int] = ..., index_bytes: _Optional[int] = ..., log_map_bytes: _Optional[int] = ..., append_streams: _Optional[int] = ..., max_append_streams: _Optional[int] = ..., writable: bool = ..., not_writable_reason: _Optional[str] = ..., kernel: _Optional[str] = ..., witnessed_size: _Optional[int] = ..., witnesses_required: bool = ..., witnesses: _Optional[_Iterable[_Union[Witness, _Mapping]]] = ..., readers_serving: _Optional[int] = ..., readers: _Optional[int] = ..., log_use: _Optional[_Union[LogUse, _Mapping]] = ..., index_use: _Optional[_Union[IndexUse, _Mapping]] = ..., oldest_read_commits: _Optional[int] = ..., pending_bytes: _Optional[int] = ..., max_pending_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., index_work: _Optional[_Union[IndexWork, _Mapping]] = ..., index_error: _Optional[str] = ...) -> None: ...

class LogUse(_message.Message):
    __slots__ = ("entries", "leaf_hashes", "tiles", "batches", "rows", "free")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASHES_FIELD_NUMBER: _ClassVar[int]
    TILES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    entries: int
    leaf_hashes: int
    tiles: int
    batches: int
    rows: int
    free: int
    def __init__(self, entries: _Optional[int] = ..., leaf_hashes: _Optional[int] = ..., tiles: _Optional[int] = ..., batches: _Optional[int] = ..., rows: _Optional[int] = ..., free: _Optional[int] = ...) -> None: ...

class IndexUse(_message.Message):
    __slots__ = ("runs", "postings", "rows", "free")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    POSTINGS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FREE_FIELD_NUMBER: _ClassVar[int]
    runs: int
    postings: int
    rows: int
    free: int
    def __init__(self, runs: _Optional[int] = ..., postings: _Optional[int] = ..., rows: _Optional[int] = ..., free: _Optional[int] = ...) -> None: ...

class IndexWork(_message.Message):
    __slots__ = ("commits", "entries", "busy_us", "merged_rows", "merge_us")
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    BUSY_US_FIELD_NUMBER: _ClassVar[int]
    MERGED_ROWS_FIELD_NUMBER: _ClassVar[int]
    MERGE_US_FIELD_NUMBER: _ClassVar[int]
    commits: int
    entries: int
    busy_us: int
    merged_rows: int
    merge_us: int
    def __init__(self, commits: _Optional[int] = ..., entries: _Optional[int] = ..., busy_us: _Optional[int] = ..., merged_rows: _Optional[int] = ..., merge_us: _Optional[int] = ...) -> None: ...

class Witness(_message.Message):
    __slots__ = ("name", "size", "time_unix_ns", "error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    time_unix_ns: int
    error: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., time_unix_ns: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...
