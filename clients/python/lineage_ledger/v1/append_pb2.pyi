from lineage_ledger.v1 import proofs_pb2 as _proofs_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Promise(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMISE_UNSPECIFIED: _ClassVar[Promise]
    PROMISE_DURABLE: _ClassVar[Promise]
    PROMISE_PUBLISHED: _ClassVar[Promise]
    PROMISE_WITNESSED: _ClassVar[Promise]

class ChainState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAIN_STATE_UNSPECIFIED: _ClassVar[ChainState]
    CHAIN_STATE_OPEN: _ClassVar[ChainState]
    CHAIN_STATE_CLOSED: _ClassVar[ChainState]
    CHAIN_STATE_CONFLICTED: _ClassVar[ChainState]
PROMISE_UNSPECIFIED: Promise
PROMISE_DURABLE: Promise
PROMISE_PUBLISHED: Promise
PROMISE_WITNESSED: Promise
CHAIN_STATE_UNSPECIFIED: ChainState
CHAIN_STATE_OPEN: ChainState
CHAIN_STATE_CLOSED: ChainState
CHAIN_STATE_CONFLICTED: ChainState

class AppendStreamRequest(_message.Message):
    __slots__ = ("packed_batches", "options")
    PACKED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    packed_batches: _containers.RepeatedScalarFieldContainer[bytes]
    options: AcknowledgementOptions
    def __init__(self, packed_batches: _Optional[_Iterable[bytes]] = ..., options: _Optional[_Union[AcknowledgementOptions, _Mapping]] = ...) -> None: ...

class AcknowledgementOptions(_message.Message):
    __slots__ = ("prove", "known_tree_size", "wait_for")
    PROVE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_FIELD_NUMBER: _ClassVar[int]
    prove: bool
    known_tree_size: int
    wait_for: Promise
    def __init__(self, prove: bool = ..., known_tree_size: _Optional[int] = ..., wait_for: _Optional[_Union[Promise, str]] = ...) -> None: ...

class AppendStreamResponse(_message.Message):
    __slots__ = ("acknowledgements", "checkpoint", "consistency_proof")
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_PROOF_FIELD_NUMBER: _ClassVar[int]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[Acknowledgement]
    checkpoint: bytes
    consistency_proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, acknowledgements: _Optional[_Iterable[_Union[Acknowledgement, _Mapping]]] = ..., checkpoint: _Optional[bytes] = ..., consistency_proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AppendBatchRequest(_message.Message):
    __slots__ = ("packed_batch", "options")
    PACKED_BATCH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    packed_batch: bytes
    options: AcknowledgementOptions
    def __init__(self, packed_batch: _Optional[bytes] = ..., options: _Optional[_Union[AcknowledgementOptions, _Mapping]] = ...) -> None: ...

class AppendBatchResponse(_message.Message):
    __slots__ = ("acknowledgement", "checkpoint", "consistency_proof")
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_PROOF_FIELD_NUMBER: _ClassVar[int]
    acknowledgement: Acknowledgement
    checkpoint: bytes
    consistency_proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ..., checkpoint: _Optional[bytes] = ..., consistency_proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("chain_id", "batch_sequence", "first_index", "seal_index", "duplicate", "promise", "range_proof")
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    RANGE_PROOF_FIELD_NUMBER: _ClassVar[int]
    chain_id: bytes
    batch_sequence: int
    first_index: int
    seal_index: int
    duplicate: bool
    promise: Promise
    range_proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, chain_id: _Optional[bytes] = ..., batch_sequence: _Optional[int] = ..., first_index: _Optional[int] = ..., seal_index: _Optional[int] = ..., duplicate: bool = ..., promise: _Optional[_Union[Promise, str]] = ..., range_proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetChainRequest(_message.Message):
    __slots__ = ("chain_id",)
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    chain_id: bytes
    def __init__(self, chain_id: _Optional[bytes] = ...) -> None: ...

class GetChainResponse(_message.Message):
    __slots__ = ("state", "public_key", "next_batch_sequence", "next_number", "last_seal_hash", "last_seal_index")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NEXT_BATCH_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LAST_SEAL_HASH_FIELD_NUMBER: _ClassVar[int]
    LAST_SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    state: ChainState
    public_key: bytes
    next_batch_sequence: int
    next_number: int
    last_seal_hash: bytes
    last_seal_index: int
    def __init__(self, state: _Optional[_Union[ChainState, str]] = ..., public_key: _Optional[bytes] = ..., next_batch_sequence: _Optional[int] = ..., next_number: _Optional[int] = ..., last_seal_hash: _Optional[bytes] = ..., last_seal_index: _Optional[int] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("origin", "verifier_key", "format_version", "max_batch_bytes", "max_batch_entries", "server_version", "key_history")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    VERIFIER_KEY_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    KEY_HISTORY_FIELD_NUMBER: _ClassVar[int]
    origin: str
    verifier_key: str
    format_version: int
    max_batch_bytes: int
    max_batch_entries: int
    server_version: str
    key_history: _proofs_pb2.KeyHistory
    def __init__(self, origin: _Optional[str] = ..., verifier_key: _Optional[str] = ..., format_version: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_batch_entries: _Optional[int] = ..., server_version: _Optional[str] = ..., key_history: _Optional[_Union[_proofs_pb2.KeyHistory, _Mapping]] = ...) -> None: ...
