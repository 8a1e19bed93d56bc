"""Statements: entries that say something about artifacts and runs, built from keyword arguments.

Each builder returns a strictly encoded entry, so nothing is built here that a server would refuse. Digests are taken
as text (`sha256:<hex>`, see `digest.parse_digest`) or as `entry_pb2.Digest`; what must be sorted is sorted. The limits
of each field are in `entry.proto`. Every builder raises `MalformedError` for what the format does not allow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

from lineage_ledger.errors import MalformedEntryError, SignatureError
from lineage_ledger.formats import keys
from lineage_ledger.formats.digest import ManifestFile, parse_digest, sha256_digest
from lineage_ledger.formats.merkle import leaf_hash
from lineage_ledger.formats.strict import check_entry
from lineage_ledger.v1 import entry_pb2

DigestLike: TypeAlias = str | entry_pb2.Digest
AttributeValue: TypeAlias = str | int | float | bool | None
ArtifactKindName: TypeAlias = Literal["dataset", "code", "environment", "model", "other"]
RunKindName: TypeAlias = Literal["training", "preprocessing", "feature_engineering", "evaluation", "other"]

_MessageT = TypeVar("_MessageT", bound=Message)

_ATTESTATION_CONTEXT: Final = b"lineage-ledger/attestation/v1\n"
_ARTIFACT_KINDS: Final[Mapping[str, int]] = {
    "dataset": entry_pb2.ARTIFACT_KIND_DATASET,
    "code": entry_pb2.ARTIFACT_KIND_CODE,
    "environment": entry_pb2.ARTIFACT_KIND_ENVIRONMENT,
    "model": entry_pb2.ARTIFACT_KIND_MODEL,
    "other": entry_pb2.ARTIFACT_KIND_OTHER,
}
_RUN_KINDS: Final[Mapping[str, int]] = {
    "training": entry_pb2.RUN_KIND_TRAINING,
    "preprocessing": entry_pb2.RUN_KIND_PREPROCESSING,
    "feature_engineering": entry_pb2.RUN_KIND_FEATURE_ENGINEERING,
    "evaluation": entry_pb2.RUN_KIND_EVALUATION,
    "other": entry_pb2.RUN_KIND_OTHER,
}


class Signer(Protocol):
    """Whoever signs an attestation, such as `keys.SigningKey`."""

    @property
    def public_key(self) -> bytes:
        """Ed25519 public key; 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature of `message`; 64 bytes."""


def artifact(
    *,
    kind: ArtifactKindName,
    digest: DigestLike,
    name: str,
    version: str = "",
    uri: str = "",
    size_bytes: int = 0,
    media_type: str = "",
    files: Iterable[ManifestFile] = (),
    code: entry_pb2.Code | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    created_time_unix_ns: int = 0,
) -> bytes:
    """Something with content: a dataset, code, an environment, a model or another; `code` only for kind "code"."""
    return _statement(
        "artifact",
        entry_pb2.Artifact,
        kind=_kind(_ARTIFACT_KINDS, kind),
        digest=_digest(digest),
        name=name,
        version=version,
        uri=uri,
        size_bytes=size_bytes,
        media_type=media_type,
        files=[
            entry_pb2.File(path=file.path, size_bytes=file.size_bytes, digest=sha256_digest(file.sha256))
            for file in sorted(files, key=lambda file: _sort_key(file.path))
        ],
        code=code,
        attributes=_attributes(attributes),
        created_time_unix_ns=created_time_unix_ns,
    )


def code_state(
    *, commit: DigestLike, repository: str = "", branch: str = "", diff: DigestLike | None = None
) -> entry_pb2.Code:
    """What git says of a working tree, for `artifact(kind="code")`.

    `commit` is `sha1:` or `sha256:` and git's commit id; `diff` the digest of `git diff --binary HEAD` if the tree
    was dirty, which its presence says.
    """
    return _message(
        "code",
        entry_pb2.Code,
        repository=repository,
        commit=_digest(commit),
        branch=branch,
        dirty=diff is not None,
        diff=_digest(diff),
    )


def run(
    *,
    kind: RunKindName,
    name: str,
    run_id: str = "",
    inputs: Iterable[DigestLike | tuple[DigestLike, str]] = (),
    outputs: Iterable[DigestLike | tuple[DigestLike, str]] = (),
    parameters: Mapping[str, AttributeValue] | None = None,
    metrics: Mapping[str, AttributeValue] | None = None,
    code: DigestLike | None = None,
    environment: DigestLike | None = None,
    start_time_unix_ns: int = 0,
    end_time_unix_ns: int = 0,
    command: str = "",
) -> bytes:
    """A process that used `inputs` and generated `outputs`: digests of artifacts, each alone or with its role."""
    return _statement(
        "run",
        entry_pb2.Run,
        kind=_kind(_RUN_KINDS, kind),
        run_id=run_id,
        name=name,
        inputs=[_reference(reference) for reference in inputs],
        outputs=[_reference(reference) for reference in outputs],
        parameters=_attributes(parameters),
        code=_digest(code),
        environment=_digest(environment),
        start_time_unix_ns=start_time_unix_ns,
        end_time_unix_ns=end_time_unix_ns,
        metrics=_attributes(metrics),
        command=command,
    )


def deployment(
    *,
    name: str,
    model: DigestLike,
    configuration: DigestLike | None = None,
    image: DigestLike | None = None,
    server: str = "",
    endpoint: str = "",
    valid_from_unix_ns: int = 0,
    valid_until_unix_ns: int = 0,
    code: DigestLike | None = None,
    environment: DigestLike | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> bytes:
    """A model put behind an address. A binding names it by its entry's leaf hash (`statement_hash`)."""
    return _statement(
        "deployment",
        entry_pb2.Deployment,
        name=name,
        model=_digest(model),
        configuration=_digest(configuration),
        image=_digest(image),
        server=server,
        endpoint=endpoint,
        valid_from_unix_ns=valid_from_unix_ns,
        valid_until_unix_ns=valid_until_unix_ns,
        code=_digest(code),
        environment=_digest(environment),
        attributes=_attributes(attributes),
    )


def attestation(
    *,
    subject: DigestLike,
    predicate_type: str,
    time_unix_ns: int,
    predicate: bytes = b"",
    attester: str = "",
    signer: Signer | None = None,
    origin: str = "",
) -> bytes:
    """An opinion about the artifact `subject`; signed if there is a `signer`, and then for the ledger `origin`."""
    if (signer is None) != (not origin):
        raise MalformedEntryError("attestation: a signer and the origin it signs for go together; give both or none")
    body = _message(
        "attestation.body",
        entry_pb2.AttestationBody,
        subject=_digest(subject),
        predicate_type=predicate_type,
        predicate=predicate,
        attester=attester,
        public_key=b"" if signer is None else signer.public_key,
        time_unix_ns=time_unix_ns,
    ).SerializeToString()
    signature = b"" if signer is None else signer.sign(attestation_message(origin, body))
    return _statement("attestation", entry_pb2.Attestation, body=body, signature=signature)


def attestation_message(origin: str, body: bytes) -> bytes:
    """What an attester signs: body as carried, for the ledger `origin`."""
    return _ATTESTATION_CONTEXT + origin.encode() + b"\n" + body


def check_attestation_signature(entry: entry_pb2.Attestation, origin: str) -> bool:
    """Whether a strictly encoded attestation is signed; raises `SignatureError` if its signature does not check."""
    public_key = entry_pb2.AttestationBody.FromString(entry.body).public_key
    if not public_key:
        return False
    if not keys.verify(public_key, attestation_message(origin, entry.body), entry.signature):
        raise SignatureError(f"the attester's signature does not check for its key and the origin {origin!r}")
    return True


def statement_hash(entry: bytes) -> bytes:
    """What names a statement: its RFC 6962 leaf hash, 32 bytes."""
    return leaf_hash(entry)


def _statement(name: str, message_type: Callable[..., _MessageT], /, **fields: object) -> bytes:
    message = _message(name, message_type, **fields)
    entry = _message(name, entry_pb2.Entry, **{name: message}).SerializeToString()
    check_entry(entry)
    return entry


def _message(name: str, message_type: Callable[..., _MessageT], /, **fields: object) -> _MessageT:
    try:
        return message_type(**fields)
    except (TypeError, ValueError) as error:  # A wrong type, a number out of range, a lone surrogate in text.
        raise MalformedEntryError(f"{name}: {error}") from error


def _digest(digest: DigestLike | None) -> entry_pb2.Digest | None:
    return parse_digest(digest) if isinstance(digest, str) else digest


def _reference(reference: DigestLike | tuple[DigestLike, str]) -> entry_pb2.ArtifactReference:
    digest, role = reference if isinstance(reference, tuple) else (reference, "")
    return _message("reference", entry_pb2.ArtifactReference, digest=_digest(digest), role=role)


def _attributes(attributes: Mapping[str, AttributeValue] | None) -> list[entry_pb2.Attribute]:
    return [
        _message("attribute", entry_pb2.Attribute, name=name, value=_text(name, value))
        for name, value in sorted((attributes or {}).items(), key=lambda item: _sort_key(item[0]))
    ]


def _text(name: str, value: AttributeValue) -> str:
    """Text as it is, anything else as JSON writes it."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MalformedEntryError(f"attribute {name!r}: {error}; give it as text") from error


def _sort_key(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _kind(known: Mapping[str, int], name: str) -> int:
    if name not in known:
        raise MalformedEntryError(f"kind {name!r} is unknown; known are {', '.join(known)}")
    return known[name]
