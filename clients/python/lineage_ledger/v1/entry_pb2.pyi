from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DigestAlgorithm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIGEST_ALGORITHM_UNSPECIFIED: _ClassVar[DigestAlgorithm]
    DIGEST_ALGORITHM_SHA256: _ClassVar[DigestAlgorithm]
    DIGEST_ALGORITHM_SHA512: _ClassVar[DigestAlgorithm]
    DIGEST_ALGORITHM_SHA1: _ClassVar[DigestAlgorithm]
    DIGEST_ALGORITHM_MD5: _ClassVar[DigestAlgorithm]
    DIGEST_ALGORITHM_CRC32: _ClassVar[DigestAlgorithm]

class ArtifactKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARTIFACT_KIND_UNSPECIFIED: _ClassVar[ArtifactKind]
    ARTIFACT_KIND_DATASET: _ClassVar[ArtifactKind]
    ARTIFACT_KIND_CODE: _ClassVar[ArtifactKind]
    ARTIFACT_KIND_ENVIRONMENT: _ClassVar[ArtifactKind]
    ARTIFACT_KIND_MODEL: _ClassVar[ArtifactKind]
    ARTIFACT_KIND_OTHER: _ClassVar[ArtifactKind]

class RunKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_KIND_UNSPECIFIED: _ClassVar[RunKind]
    RUN_KIND_TRAINING: _ClassVar[RunKind]
    RUN_KIND_PREPROCESSING: _ClassVar[RunKind]
    RUN_KIND_FEATURE_ENGINEERING: _ClassVar[RunKind]
    RUN_KIND_EVALUATION: _ClassVar[RunKind]
    RUN_KIND_OTHER: _ClassVar[RunKind]
DIGEST_ALGORITHM_UNSPECIFIED: DigestAlgorithm
DIGEST_ALGORITHM_SHA256: DigestAlgorithm
DIGEST_ALGORITHM_SHA512: DigestAlgorithm
DIGEST_ALGORITHM_SHA1: DigestAlgorithm
DIGEST_ALGORITHM_MD5: DigestAlgorithm
DIGEST_ALGORITHM_CRC32: DigestAlgorithm
ARTIFACT_KIND_UNSPECIFIED: ArtifactKind
ARTIFACT_KIND_DATASET: ArtifactKind
ARTIFACT_KIND_CODE: ArtifactKind
ARTIFACT_KIND_ENVIRONMENT: ArtifactKind
ARTIFACT_KIND_MODEL: ArtifactKind
ARTIFACT_KIND_OTHER: ArtifactKind
RUN_KIND_UNSPECIFIED: RunKind
RUN_KIND_TRAINING: RunKind
RUN_KIND_PREPROCESSING: RunKind
RUN_KIND_FEATURE_ENGINEERING: RunKind
RUN_KIND_EVALUATION: RunKind
RUN_KIND_OTHER: RunKind

class Entry(_message.Message):
    __slots__ = ("prediction", "seal", "artifact", "run", "deployment", "attestation", "genesis", "block", "producer_registered", "producer_retired", "producer_compromised", "conflict", "removal", "ledger_key")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    ATTESTATION_FIELD_NUMBER: _ClassVar[int]
    GENESIS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_RETIRED_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_COMPROMISED_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    REMOVAL_FIELD_NUMBER: _ClassVar[int]
    LEDGER_KEY_FIELD_NUMBER: _ClassVar[int]
    prediction: Prediction
    seal: Seal
    artifact: Artifact
    run: Run
    deployment: Deployment
    attestation: Attestation
    genesis: Genesis
    block: Block
    producer_registered: ProducerRegistered
    producer_retired: ProducerRetired
    producer_compromised: ProducerCompromised
    conflict: Conflict
    removal: Removal
    ledger_key: LedgerKey
    def __init__(self, prediction: _Optional[_Union[Prediction, _Mapping]] = ..., seal: _Optional[_Union[Seal, _Mapping]] = ..., artifact: _Optional[_Union[Artifact, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ..., attestation: _Optional[_Union[Attestation, _Mapping]] = ..., genesis: _Optional[_Union[Genesis, _Mapping]] = ..., block: _Optional[_Union[Block, _Mapping]] = ..., producer_registered: _Optional[_Union[ProducerRegistered, _Mapping]] = ..., producer_retired: _Optional[_Union[ProducerRetired, _Mapping]] = ..., producer_compromised: _Optional[_Union[ProducerCompromised, _Mapping]] = ..., conflict: _Optional[_Union[Conflict, _Mapping]] = ..., removal: _Optional[_Union[Removal, _Mapping]] = ..., ledger_key: _Optional[_Union[LedgerKey, _Mapping]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("binding_row", "request_id", "input_commitment", "output_commitment", "start_time_unix_ns", "duration_us", "status_code")
    BINDING_ROW_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    binding_row: int
    request_id: bytes
    input_commitment: bytes
    output_commitment: bytes
    start_time_unix_ns: int
    duration_us: int
    status_code: int
    def __init__(self, binding_row: _Optional[int] = ..., request_id: _Optional[bytes] = ..., input_commitment: _Optional[bytes] = ..., output_commitment: _Optional[bytes] = ..., start_time_unix_ns: _Optional[int] = ..., duration_us: _Optional[int] = ..., status_code: _Optional[int] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class SealBody(_message.Message):
    __slots__ = ("public_key", "chain_id", "batch_sequence", "first_number", "count", "root", "previous_seal_hash", "earliest_start_time_unix_ns", "latest_start_time_unix_ns", "sealed_time_unix_ns", "lost", "bindings", "chain_nonce", "predecessor", "closing")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEAL_HASH_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_START_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    LATEST_START_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    SEALED_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_NONCE_FIELD_NUMBER: _ClassVar[int]
    PREDECESSOR_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    chain_id: bytes
    batch_sequence: int
    first_number: int
    count: int
    root: bytes
    previous_seal_hash: bytes
    earliest_start_time_unix_ns: int
    latest_start_time_unix_ns: int
    sealed_time_unix_ns: int
    lost: _containers.RepeatedCompositeFieldContainer[NumberRange]
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    chain_nonce: bytes
    predecessor: Predecessor
    closing: bool
    def __init__(self, public_key: _Optional[bytes] = ..., chain_id: _Optional[bytes] = ..., batch_sequence: _Optional[int] = ..., first_number: _Optional[int] = ..., count: _Optional[int] = ..., root: _Optional[bytes] = ..., previous_seal_hash: _Optional[bytes] = ..., earliest_start_time_unix_ns: _Optional[int] = ..., latest_start_time_unix_ns: _Optional[int] = ..., sealed_time_unix_ns: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[NumberRange, _Mapping]]] = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., chain_nonce: _Optional[bytes] = ..., predecessor: _Optional[_Union[Predecessor, _Mapping]] = ..., closing: bool = ...) -> None: ...

class NumberRange(_message.Message):
    __slots__ = ("first", "count")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("deployment_hash", "count")
    DEPLOYMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    deployment_hash: bytes
    count: int
    def __init__(self, deployment_hash: _Optional[bytes] = ..., count: _Optional[int] = ...) -> None: ...

class Predecessor(_message.Message):
    __slots__ = ("chain_id", "next_number")
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    chain_id: bytes
    next_number: int
    def __init__(self, chain_id: _Optional[bytes] = ..., next_number: _Optional[int] = ...) -> None: ...

class Digest(_message.Message):
    __slots__ = ("algorithm", "value", "sampled")
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    algorithm: DigestAlgorithm
    value: bytes
    sampled: bool
    def __init__(self, algorithm: _Optional[_Union[DigestAlgorithm, str]] = ..., value: _Optional[bytes] = ..., sampled: bool = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("kind", "digest", "name", "version", "uri", "size_bytes", "media_type", "files", "code", "attributes", "created_time_unix_ns")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    kind: ArtifactKind
    digest: Digest
    name: str
    version: str
    uri: str
    size_bytes: int
    media_type: str
    files: _containers.RepeatedCompositeFieldContainer[File]
    code: Code
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    created_time_unix_ns: int
    def __init__(self, kind: _Optional[_Union[ArtifactKind, str]] = ..., digest: _Optional[_Union[Digest, _Mapping]] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., uri: _Optional[str] = ..., size_bytes: _Optional[int] = ..., media_type: _Optional[str] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., code: _Optional[_Union[Code, _Mapping]] = ..., attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., created_time_unix_ns: _Optional[int] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("path", "size_bytes", "digest")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    digest: Digest
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., digest: _Optional[_Union[Digest, _Mapping]] = ...) -> None: ...

class Code(_message.Message):
    __slots__ = ("repository", "commit", "branch", "dirty", "diff")
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    repository: str
    commit: Digest
    branch: str
    dirty: bool
    diff: Digest
    def __init__(self, repository: _Optional[str] = ..., commit: _Optional[_Union[Digest, _Mapping]] = ..., branch: _Optional[str] = ..., dirty: bool = ..., diff: _Optional[_Union[Digest, _Mapping]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("kind", "run_id", "name", "inputs", "outputs", "parameters", "code", "environment", "start_time_unix_ns", "end_time_unix_ns", "metrics", "command")
    KIND_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    END_TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    kind: RunKind
    run_id: str
    name: str
    inputs: _containers.RepeatedCompositeFieldContainer[ArtifactReference]
    outputs: _containers.RepeatedCompositeFieldContainer[ArtifactReference]
    parameters: _containers.RepeatedCompositeFieldContainer[Attribute]
    code: Digest
    environment: Digest
    start_time_unix_ns: int
    end_time_unix_ns: int
    metrics: _containers.RepeatedCompositeFieldContainer[Attribute]
    command: str
    def __init__(self, kind: _Optional[_Union[RunKind, str]] = ..., run_id: _Optional[str] = ..., name: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[ArtifactReference, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[ArtifactReference, _Mapping]]] = ..., parameters: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., code: _Optional[_Union[Digest, _Mapping]] = ..., environment: _Optional[_Union[Digest, _Mapping]] = ..., start_time_unix_ns: _Optional[int] = ..., end_time_unix_ns: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ..., command: _Optional[str] = ...) -> None: ...

class ArtifactReference(_message.Message):
    __slots__ = ("digest", "role")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    digest: Digest
    role: str
    def __init__(self, digest: _Optional[_Union[Digest, _Mapping]] = ..., role: _Optional[str] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("name", "model", "configuration", "image", "server", "endpoint", "valid_from_unix_ns", "valid_until_unix_ns", "code", "environment", "attributes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: Digest
    configuration: Digest
    image: Digest
    server: str
    endpoint: str
    valid_from_unix_ns: int
    valid_until_unix_ns: int
    code: Digest
    environment: Digest
    attributes: _containers.RepeatedCompositeFieldContainer[Attribute]
    def __init__(self, name: _Optional[str] = ..., model: _Optional[_Union[Digest, _Mapping]] = ..., configuration: _Optional[_Union[Digest, _Mapping]] = ..., image: _Optional[_Union[Digest, _Mapping]] = ..., server: _Optional[str] = ..., endpoint: _Optional[str] = ..., valid_from_unix_ns: _Optional[int] = ..., valid_until_unix_ns: _Optional[int] = ..., code: _Optional[_Union[Digest, _Mapping]] = ..., environment: _Optional[_Union[Digest, _Mapping]] = ..., attributes: _Optional[_Iterable[_Union[Attribute, _Mapping]]] = ...) -> None: ...

class Attestation(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class AttestationBody(_message.Message):
    __slots__ = ("subject", "predicate_type", "predicate", "attester", "public_key", "time_unix_ns")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    ATTESTER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    subject: Digest
    predicate_type: str
    predicate: bytes
    attester: str
    public_key: bytes
    time_unix_ns: int
    def __init__(self, subject: _Optional[_Union[Digest, _Mapping]] = ..., predicate_type: _Optional[str] = ..., predicate: _Optional[bytes] = ..., attester: _Optional[str] = ..., public_key: _Optional[bytes] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class Genesis(_message.Message):
    __slots__ = ("format_version", "origin", "ledger_public_key", "admin_public_keys", "time_unix_ns")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LEDGER_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEYS_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    origin: str
    ledger_public_key: bytes
    admin_public_keys: _containers.RepeatedScalarFieldContainer[bytes]
    time_unix_ns: int
    def __init__(self, format_version: _Optional[int] = ..., origin: _Optional[str] = ..., ledger_public_key: _Optional[bytes] = ..., admin_public_keys: _Optional[_Iterable[bytes]] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("number", "time_unix_ns", "previous_block_hash")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    number: int
    time_unix_ns: int
    previous_block_hash: bytes
    def __init__(self, number: _Optional[int] = ..., time_unix_ns: _Optional[int] = ..., previous_block_hash: _Optional[bytes] = ...) -> None: ...

class ProducerRegistered(_message.Message):
    __slots__ = ("body", "possession_signature", "admin_public_key", "admin_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    POSSESSION_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    possession_signature: bytes
    admin_public_key: bytes
    admin_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., possession_signature: _Optional[bytes] = ..., admin_public_key: _Optional[bytes] = ..., admin_signature: _Optional[bytes] = ...) -> None: ...

class ProducerRegistration(_message.Message):
    __slots__ = ("public_key", "name", "time_unix_ns")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    name: str
    time_unix_ns: int
    def __init__(self, public_key: _Optional[bytes] = ..., name: _Optional[str] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class ProducerRetired(_message.Message):
    __slots__ = ("body", "admin_public_key", "admin_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    admin_public_key: bytes
    admin_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., admin_public_key: _Optional[bytes] = ..., admin_signature: _Optional[bytes] = ...) -> None: ...

class ProducerRetirement(_message.Message):
    __slots__ = ("public_key", "last_block", "time_unix_ns")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    LAST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    last_block: int
    time_unix_ns: int
    def __init__(self, public_key: _Optional[bytes] = ..., last_block: _Optional[int] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class ProducerCompromised(_message.Message):
    __slots__ = ("body", "admin_public_key", "admin_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    admin_public_key: bytes
    admin_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., admin_public_key: _Optional[bytes] = ..., admin_signature: _Optional[bytes] = ...) -> None: ...

class ProducerCompromise(_message.Message):
    __slots__ = ("public_key", "suspect_since_unix_ns", "time_unix_ns")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_SINCE_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    suspect_since_unix_ns: int
    time_unix_ns: int
    def __init__(self, public_key: _Optional[bytes] = ..., suspect_since_unix_ns: _Optional[int] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class Conflict(_message.Message):
    __slots__ = ("first_seal", "second_seal")
    FIRST_SEAL_FIELD_NUMBER: _ClassVar[int]
    SECOND_SEAL_FIELD_NUMBER: _ClassVar[int]
    first_seal: bytes
    second_seal: bytes
    def __init__(self, first_seal: _Optional[bytes] = ..., second_seal: _Optional[bytes] = ...) -> None: ...

class Removal(_message.Message):
    __slots__ = ("body", "admin_public_key", "admin_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    admin_public_key: bytes
    admin_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., admin_public_key: _Optional[bytes] = ..., admin_signature: _Optional[bytes] = ...) -> None: ...

class RemovalBody(_message.Message):
    __slots__ = ("policy", "ranges", "time_unix_ns")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    ranges: _containers.RepeatedCompositeFieldContainer[IndexRange]
    time_unix_ns: int
    def __init__(self, policy: _Optional[str] = ..., ranges: _Optional[_Iterable[_Union[IndexRange, _Mapping]]] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...

class IndexRange(_message.Message):
    __slots__ = ("first", "count")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class LedgerKey(_message.Message):
    __slots__ = ("body", "old_signature", "new_signature", "admin_public_key", "admin_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    OLD_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ADMIN_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    old_signature: bytes
    new_signature: bytes
    admin_public_key: bytes
    admin_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., old_signature: _Optional[bytes] = ..., new_signature: _Optional[bytes] = ..., admin_public_key: _Optional[bytes] = ..., admin_signature: _Optional[bytes] = ...) -> None: ...

class LedgerKeyChange(_message.Message):
    __slots__ = ("old_public_key", "new_public_key", "time_unix_ns")
    OLD_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NEW_PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    old_public_key: bytes
    new_public_key: bytes
    time_unix_ns: int
    def __init__(self, old_public_key: _Optional[bytes] = ..., new_public_key: _Optional[bytes] = ..., time_unix_ns: _Optional[int] = ...) -> None: ...
