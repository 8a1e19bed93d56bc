from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCheckpointRequest(_message.Message):
    __slots__ = ("witnessed", "with_key_history")
    WITNESSED_FIELD_NUMBER: _ClassVar[int]
    WITH_KEY_HISTORY_FIELD_NUMBER: _ClassVar[int]
    witnessed: bool
    with_key_history: bool
    def __init__(self, witnessed: bool = ..., with_key_history: bool = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("checkpoint", "key_history")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    KEY_HISTORY_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    key_history: KeyHistory
    def __init__(self, checkpoint: _Optional[bytes] = ..., key_history: _Optional[_Union[KeyHistory, _Mapping]] = ...) -> None: ...

class KeyHistory(_message.Message):
    __slots__ = ("genesis", "changes", "proof")
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    genesis: bytes
    changes: _containers.RepeatedCompositeFieldContainer[KeyChange]
    proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, genesis: _Optional[bytes] = ..., changes: _Optional[_Iterable[_Union[KeyChange, _Mapping]]] = ..., proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class KeyChange(_message.Message):
    __slots__ = ("index", "entry")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    index: int
    entry: bytes
    def __init__(self, index: _Optional[int] = ..., entry: _Optional[bytes] = ...) -> None: ...

class GetInclusionProofRequest(_message.Message):
    __slots__ = ("index", "tree_size")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    index: int
    tree_size: int
    def __init__(self, index: _Optional[int] = ..., tree_size: _Optional[int] = ...) -> None: ...

class GetInclusionProofResponse(_message.Message):
    __slots__ = ("tree_size", "leaf_hash", "hashes", "checkpoint")
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    tree_size: int
    leaf_hash: bytes
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    checkpoint: bytes
    def __init__(self, tree_size: _Optional[int] = ..., leaf_hash: _Optional[bytes] = ..., hashes: _Optional[_Iterable[bytes]] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class GetConsistencyProofRequest(_message.Message):
    __slots__ = ("old_size", "new_size")
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    old_size: int
    new_size: int
    def __init__(self, old_size: _Optional[int] = ..., new_size: _Optional[int] = ...) -> None: ...

class GetConsistencyProofResponse(_message.Message):
    __slots__ = ("new_size", "hashes", "checkpoint")
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    new_size: int
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    checkpoint: bytes
    def __init__(self, new_size: _Optional[int] = ..., hashes: _Optional[_Iterable[bytes]] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class GetReceiptRequest(_message.Message):
    __slots__ = ("prediction_id", "index", "chain", "witnessed")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    WITNESSED_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    index: int
    chain: ChainRange
    witnessed: bool
    def __init__(self, prediction_id: _Optional[str] = ..., index: _Optional[int] = ..., chain: _Optional[_Union[ChainRange, _Mapping]] = ..., witnessed: bool = ...) -> None: ...

class ChainRange(_message.Message):
    __slots__ = ("chain_id", "first_sequence", "count")
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    chain_id: bytes
    first_sequence: int
    count: int
    def __init__(self, chain_id: _Optional[bytes] = ..., first_sequence: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class GetReceiptResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    def __init__(self, receipt: _Optional[bytes] = ...) -> None: ...

class ListChainsRequest(_message.Message):
    __slots__ = ("public_key", "deployment_hash", "page_size", "page_token")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    deployment_hash: bytes
    page_size: int
    page_token: str
    def __init__(self, public_key: _Optional[bytes] = ..., deployment_hash: _Optional[bytes] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListChainsResponse(_message.Message):
    __slots__ = ("chains", "next_page_token")
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    next_page_token: str
    def __init__(self, chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("chain_id", "public_key", "first_seal_index", "last_seal_index", "last_sequence", "conflict_index", "closed", "successor_chain_id")
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_INDEX_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    chain_id: bytes
    public_key: bytes
    first_seal_index: int
    last_seal_index: int
    last_sequence: int
    conflict_index: int
    closed: bool
    successor_chain_id: bytes
    def __init__(self, chain_id: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., first_seal_index: _Optional[int] = ..., last_seal_index: _Optional[int] = ..., last_sequence: _Optional[int] = ..., conflict_index: _Optional[int] = ..., closed: bool = ..., successor_chain_id: _Optional[bytes] = ...) -> None: ...
