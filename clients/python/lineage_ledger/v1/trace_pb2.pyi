from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Relation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELATION_UNSPECIFIED: _ClassVar[Relation]
    RELATION_MADE_WITH: _ClassVar[Relation]
    RELATION_MODEL: _ClassVar[Relation]
    RELATION_CONFIGURATION: _ClassVar[Relation]
    RELATION_IMAGE: _ClassVar[Relation]
    RELATION_WAS_GENERATED_BY: _ClassVar[Relation]
    RELATION_USED: _ClassVar[Relation]
    RELATION_CODE: _ClassVar[Relation]
    RELATION_ENVIRONMENT: _ClassVar[Relation]
    RELATION_ATTESTED_BY: _ClassVar[Relation]
RELATION_UNSPECIFIED: Relation
RELATION_MADE_WITH: Relation
RELATION_MODEL: Relation
RELATION_CONFIGURATION: Relation
RELATION_IMAGE: Relation
RELATION_WAS_GENERATED_BY: Relation
RELATION_USED: Relation
RELATION_CODE: Relation
RELATION_ENVIRONMENT: Relation
RELATION_ATTESTED_BY: Relation

class TraceRequest(_message.Message):
    __slots__ = ("prediction_id", "index", "artifact_digest", "page_size", "page_token")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    index: int
    artifact_digest: bytes
    page_size: int
    page_token: str
    def __init__(self, prediction_id: _Optional[str] = ..., index: _Optional[int] = ..., artifact_digest: _Optional[bytes] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class TraceResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token", "checkpoint", "indexed_size")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    INDEXED_SIZE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[TraceNode]
    next_page_token: str
    checkpoint: bytes
    indexed_size: int
    def __init__(self, nodes: _Optional[_Iterable[_Union[TraceNode, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., checkpoint: _Optional[bytes] = ..., indexed_size: _Optional[int] = ...) -> None: ...

class TraceNode(_message.Message):
    __slots__ = ("ordinal", "edges", "resolved", "index", "entry", "digest", "deployment_hash", "public_key", "producer_name", "seal_index")
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_NAME_FIELD_NUMBER: _ClassVar[int]
    SEAL_INDEX_FIELD_NUMBER: _ClassVar[int]
    ordinal: int
    edges: _containers.RepeatedCompositeFieldContainer[TraceEdge]
    resolved: bool
    index: int
    entry: bytes
    digest: bytes
    deployment_hash: bytes
    public_key: bytes
    producer_name: str
    seal_index: int
    def __init__(self, ordinal: _Optional[int] = ..., edges: _Optional[_Iterable[_Union[TraceEdge, _Mapping]]] = ..., resolved: bool = ..., index: _Optional[int] = ..., entry: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., deployment_hash: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., producer_name: _Optional[str] = ..., seal_index: _Optional[int] = ...) -> None: ...

class TraceEdge(_message.Message):
    __slots__ = ("from_ordinal", "relation", "role")
    FROM_ORDINAL_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    from_ordinal: int
    relation: Relation
    role: str
    def __init__(self, from_ordinal: _Optional[int] = ..., relation: _Optional[_Union[Relation, str]] = ..., role: _Optional[str] = ...) -> None: ...
