"""Lineage: walks backwards from a prediction, deployment or artifact to all that it came from.

Pure, over an abstract `StatementSource`: the server walks its log and indexes, a verifier the entries of a receipt,
both by these rules, so both see the same graph:

- An artifact is one node by its digest. Where it was recorded more than once, the node shows the first statement,
  which nothing that is logged later can change.
- What is referred to and not logged is an unresolved node; of an artifact, the runs that generated it and the
  attestations about it are followed even so.
- Breadth first; the nodes behind one node in the order of `Relation`, then in the order of the statement that refers to
  them (a run's inputs) or of their indexes (runs, attestations).
- Every reference is an edge, also one back to a node that is already listed, so cycles end and are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.seal import ParsedSeal, number_at
from lineage_ledger.formats.strict import parse_entry
from lineage_ledger.v1 import entry_pb2
from lineage_ledger.v1.trace_pb2 import Relation

MAX_NODES = 10_000
MAX_EDGES = 100_000
STATEMENT_KINDS = frozenset({"artifact", "run", "deployment", "attestation"})


class TraceLimitError(LineageError):
    """A graph of more than MAX_NODES nodes or MAX_EDGES edges."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(f"the lineage has more than {value:,} {limit}; trace one of its parts")
        self.metadata = {"limit": f"trace_{limit}", "value": str(value)}


class NotTraceableError(LineageError, ValueError):
    """The subject is an entry that comes from nothing: neither a prediction nor a statement."""

    reason = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry that a producer sealed, verified by whoever hands it over, with the seal that closes its batch."""

    index: int
    entry: bytes
    seal_index: int
    seal: ParsedSeal

    @property
    def place(self) -> int:
        """Place in the batch, from 0."""
        return self.index - (self.seal_index - self.seal.body.count)

    def prediction_id(self, prediction: entry_pb2.Prediction) -> PredictionId:
        """The id of this entry, which is `prediction`."""
        body = self.seal.body
        return PredictionId(body.chain_id, number_at(body, self.place), prediction.input_commitment[:4])

    def deployment_hash(self, prediction: entry_pb2.Prediction) -> bytes:
        """Leaf hash of the deployment that the seal binds `prediction` to; empty if its table has no such row."""
        bindings = self.seal.body.bindings
        row = prediction.binding_row
        return bindings[row - 1].deployment_hash if 1 <= row <= len(bindings) else b""


class StatementSource(Protocol):
    """Finds statements. What it finds must not change during a walk: it answers for one size of the log.

    Indexes come strictly ascending. A digest is given without its flag `sampled`: algorithm and value are its identity.
    """

    def sealed_entry(self, index: int) -> SealedEntry:
        """The entry at `index`, verified. Raises a LineageError if there is none or no producer sealed it."""

    def statement_index(self, leaf_hash: bytes) -> int | None:
        """First index of the statement with this leaf hash."""

    def artifact_index(self, digest: entry_pb2.Digest) -> int | None:
        """First index of an artifact with this digest."""

    def generating_runs(self, digest: entry_pb2.Digest) -> Iterable[int]:
        """Indexes of the runs that have this digest among their outputs."""

    def attestations(self, digest: entry_pb2.Digest) -> Iterable[int]:
        """Indexes of the attestations with this subject."""


class Edge(NamedTuple):
    """`from_ordinal` refers to the node that has this edge; it may come later in the answer."""

    from_ordinal: int
    relation: Relation
    role: str


@dataclass(slots=True)
class Node:
    """`index` is None if it is referred to and not logged; then `digest` or `deployment_hash` says what is meant."""

    ordinal: int
    index: int | None
    kind: str
    digest: entry_pb2.Digest | None = None
    deployment_hash: bytes = b""
    edges: list[Edge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """A node as one that refers to it knows it; the subject of a walk, too."""

    key: object
    relation: Relation
    role: str = ""
    index: int | None = None
    digest: entry_pb2.Digest | None = None
    deployment_hash: bytes = b""


def subject_of_digest(digest: entry_pb2.Digest) -> Target:
    """The subject of a walk from an artifact."""
    return Target(digest_key(digest), Relation.RELATION_UNSPECIFIED, digest=digest)


def subject_of_index(index: int) -> Target:
    """The subject of a walk from the prediction or statement at `index`."""
    return Target(index, Relation.RELATION_UNSPECIFIED, index=index)


def digest_key(digest: entry_pb2.Digest) -> bytes:
    """Algorithm (one byte) ‖ value: what an artifact is found by. No key is the beginning of another."""
    return bytes((digest.algorithm,)) + digest.value


def walk(source: StatementSource, subject: Target, *, max_fan_out: int | None = None) -> list[Node]:
    """All nodes of the subject's lineage, the subject first, each with all edges that lead to it.

    `max_fan_out` keeps only that many, the first, of the runs that generated an artifact and of the attestations about
    it. Memory is bounded by MAX_NODES and MAX_EDGES; no entry is kept. Raises TraceLimitError beyond them,
    NotTraceableError for a subject that is neither prediction nor statement, and what `source` raises.
    """
    return _Walk(source, max_fan_out).run(subject)


class _Walk:
    def __init__(self, source: StatementSource, max_fan_out: int | None) -> None:
        self._source = source
        self._max_fan_out = max_fan_out
        self._nodes: list[Node] = []
        self._by_key: dict[object, Node] = {}
        self._edges = 0

    def run(self, subject: Target) -> list[Node]:
        self._reach(subject, None)
        at = 0
        while at < len(self._nodes):  # grows while it is walked
            node = self._nodes[at]
            for target in self._targets(node):
                self._reach(target, node)
            at += 1
        return self._nodes

    def _reach(self, target: Target, origin: Node | None) -> None:
        node = self._by_key.get(target.key) or self._add(target)
        if origin is None:
            return
        self._edges += 1
        if self._edges > MAX_EDGES:
            raise TraceLimitError("references", MAX_EDGES)
        node.edges.append(Edge(origin.ordinal, target.relation, target.role))

    def _add(self, target: Target) -> Node:
        if len(self._nodes) == MAX_NODES:
            raise TraceLimitError("nodes", MAX_NODES)
        index, kind = self._resolve(target)
        node = Node(len(self._nodes), index, kind, target.digest, target.deployment_hash)
        self._nodes.append(node)
        self._by_key[target.key] = node
        return node

    def _resolve(self, target: Target) -> tuple[int | None, str]:
        """Index and kind; the kind is known of unresolved nodes too, from how they are referred to."""
        if target.digest is not None:
            return self._source.artifact_index(target.digest), "artifact"
        if target.deployment_hash:
            return self._source.statement_index(target.deployment_hash), "deployment"
        return target.index, ""

    def _targets(self, node: Node) -> Iterator[Target]:
        if node.index is None:
            if node.digest is not None:
                yield from self._behind_digest(node.digest)
            return
        sealed = self._source.sealed_entry(node.index)
        entry = parse_entry(sealed.entry)
        kind = entry.WhichOneof("kind") or ""
        if node.kind == "deployment" and kind != "deployment":
            # The producer bound a hash that is something else's; there is no such deployment.
            node.index = None
            return
        node.kind = kind
        if kind == "prediction":
            yield from _behind_prediction(sealed, entry.prediction)
        elif kind == "deployment":
            yield from _behind_deployment(entry.deployment)
        elif kind == "run":
            yield from _behind_run(entry.run)
        elif kind == "artifact":
            node.digest = entry.artifact.digest
            # A subject that was given by its index is this artifact's node for all that refer to its digest.
            self._by_key.setdefault(digest_key(node.digest), node)
            yield from self._behind_digest(node.digest)
        elif kind != "attestation":
            raise NotTraceableError(
                f"entry {node.index} is a {kind}; only predictions, artifacts, runs, deployments and attestations "
                "have a lineage"
            )

    def _behind_digest(self, digest: entry_pb2.Digest) -> Iterator[Target]:
        for index in islice(self._source.generating_runs(digest), self._max_fan_out):
            yield Target(index, Relation.RELATION_WAS_GENERATED_BY, index=index)
        for index in islice(self._source.attestations(digest), self._max_fan_out):
            yield Target(index, Relation.RELATION_ATTESTED_BY, index=index)


def _behind_prediction(sealed: SealedEntry, prediction: entry_pb2.Prediction) -> Iterator[Target]:
    deployment_hash = sealed.deployment_hash(prediction)
    if deployment_hash:
        yield Target(deployment_hash, Relation.RELATION_MADE_WITH, deployment_hash=deployment_hash)


_DEPLOYMENT_FIELDS: Mapping[str, Relation] = {
    "model": Relation.RELATION_MODEL,
    "configuration": Relation.RELATION_CONFIGURATION,
    "image": Relation.RELATION_IMAGE,
    "code": Relation.RELATION_CODE,
    "environment": Relation.RELATION_ENVIRONMENT,
}


def _behind_deployment(deployment: entry_pb2.Deployment) -> Iterator[Target]:
    for name, relation in _DEPLOYMENT_FIELDS.items():
        if deployment.HasField(name):
            yield _artifact(getattr(deployment, name), relation)


def _behind_run(run: entry_pb2.Run) -> Iterator[Target]:
    for reference in run.inputs:
        yield _artifact(reference.digest, Relation.RELATION_USED, reference.role)
    if run.HasField("code"):
        yield _artifact(run.code, Relation.RELATION_CODE)
    if run.HasField("environment"):
        yield _artifact(run.environment, Relation.RELATION_ENVIRONMENT)


def _artifact(digest: entry_pb2.Digest, relation: Relation, role: str = "") -> Target:
    return Target(digest_key(digest), relation, role, digest=digest)
