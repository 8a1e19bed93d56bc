"""What can be checked of a run of bundles without the entries before it: most of the work, in any process.

Batches that lie within the run are held against their seals here. What spans runs is left to the one process that
knows all entries, as steps: chains, blocks, keys, and the two batches that the ends of the run cut. Nothing wrong is
judged here: a run in which anything is not as it should be is taken again, entry by entry, by the one process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from lineage_ledger import kernel
from lineage_ledger.audit.batch import OpenBatch
from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.entries import pieces
from lineage_ledger.audit.report import Finding
from lineage_ledger.audit.rules import Rules
from lineage_ledger.audit.source import BUNDLE_WIDTH, BundleSource
from lineage_ledger.audit.tree import TreeCheck
from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats import seal, strict
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.statement import check_attestation_signature
from lineage_ledger.kernel import ScannedBatch
from lineage_ledger.v1 import entry_pb2

_DEPLOYMENT_TAG: Final = 0x2A


class SealStep(NamedTuple):
    """A seal that was checked by itself and against its batch."""

    body: bytes
    signature: bytes
    entry_hash: bytes

    def parsed(self) -> seal.ParsedSeal:
        """The seal taken apart; its encoding was checked."""
        return seal.ParsedSeal(entry_pb2.SealBody.FromString(self.body), *self)


class EntryStep(NamedTuple):
    """An entry that is no prediction, of which nothing was checked but its hash."""

    entry: bytes
    leaf_hash: bytes


class DeploymentStep(NamedTuple):
    """A deployment in a batch that was held against its seal."""

    entry: bytes
    leaf_hash: bytes


Step: TypeAlias = SealStep | DeploymentStep | EntryStep | ScannedBatch


@dataclass(slots=True)
class Digest:
    """A run of full bundles in which nothing is wrong."""

    roots: list[bytes] = field(default_factory=list)
    """Of each bundle, over its 256 leaf hashes."""
    steps: list[tuple[int, Step]] = field(default_factory=list)
    """What the one process takes, with indexes."""
    predictions: int = 0
    """How many were in batches that were held against their seals."""
    statements: int = 0
    bytes_read: int = 0
    """Of packed entries."""


def digest(source: BundleSource, numbers: range, origin: str, signatures_from: int) -> Digest:
    """Check the full bundles of these numbers; signatures only from the index `signatures_from` on.

    Raises `LineageError` if there is anything wrong.
    """
    run = _Run(origin, signatures_from)
    for number in numbers:
        stored, packed = source.bundle(number)
        scanned = kernel.scan(packed)
        if scanned.count != BUNDLE_WIDTH or stored not in (None, scanned.leaf_hashes):
            raise MalformedError(f"bundle {number} is not what its hashes say")
        run.digest.roots.append(kernel.tree_root(scanned.leaf_hashes))
        run.digest.bytes_read += len(packed)
        for place, predictions, entry in pieces(packed, scanned):
            index = number * BUNDLE_WIDTH + place
            if predictions is not None:
                run.predictions(index, predictions)
            else:
                run.entry(index, entry, scanned.leaf_hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE])
    return run.end()


def lead(taken: Digest, first_number: int, tree: TreeCheck, rules: Rules) -> None:
    """Lead a run that begins with the bundle `first_number` to the tree and the rules, in order of index."""
    at = 0
    for number, root in enumerate(taken.roots, first_number):
        tree.full_bundle(root)
        end = (number + 1) * BUNDLE_WIDTH
        while at < len(taken.steps) and taken.steps[at][0] < end:
            index, step = taken.steps[at]
            at += 1
            if isinstance(step, SealStep):
                rules.checked_seal(index, step.parsed())
            elif isinstance(step, DeploymentStep):
                rules.checked_deployment(step.leaf_hash, entry_pb2.Entry.FromString(step.entry).deployment)
            elif isinstance(step, EntryStep):
                rules.entry(index, step.entry, step.leaf_hash)
            else:
                rules.predictions(index, step)
    rules.counts.entries += taken.predictions + taken.statements
    rules.counts.predictions += taken.predictions
    rules.counts.statements += taken.statements


class _Run:
    """The entries of a run, in order of index."""

    def __init__(self, origin: str, signatures_from: int) -> None:
        self._origin = origin
        self._signatures_from = signatures_from
        self._batch = OpenBatch(Damage(), _refuse)
        # Whether an entry went by that closed a batch, so that the batch at hand is known from its first entry on.
        self._in_step = False
        # What the batch at hand has so far: steps, if the run ends before its seal.
        self._open: list[tuple[int, Step]] = []
        self.digest = Digest()

    def predictions(self, index: int, scanned: ScannedBatch) -> None:
        self._open.append((index, scanned))
        if self._in_step:
            self._batch.add(index, scanned.leaf_hashes, scanned)

    def entry(self, index: int, entry: bytes, leaf_hash: bytes) -> None:
        message = entry_pb2.Entry.FromString(entry)
        kind = message.WhichOneof("kind")
        step = EntryStep(entry, leaf_hash)
        if kind != "seal" and entry[0] >> 3 in strict.PRODUCER_KINDS:
            self._open.append((index, step))
            if self._in_step:
                self._batch.add(index, leaf_hash)
                if kind == "attestation" and index >= self._signatures_from:
                    check_attestation_signature(message.attestation, self._origin)
        elif not self._in_step:
            self._in_step = True
            self._batch.begin(index + 1)
            self.digest.steps += [*self._open, (index, step)]
            self._open = []
        elif kind == "seal":
            self._seal(index, message.seal, leaf_hash)
        else:
            self._batch.flush()
            self.digest.steps.append((index, step))

    def _seal(self, index: int, message: entry_pb2.Seal, leaf_hash: bytes) -> None:
        step = SealStep(message.body, message.signature, leaf_hash)
        parsed = step.parsed()
        self._batch.close(index, parsed)
        seal.check_body(parsed.body, self._origin)
        if index >= self._signatures_from:
            seal.check_signature(parsed, self._origin)
        predictions = sum(each.count for _, each in self._open if isinstance(each, ScannedBatch))
        self.digest.predictions += predictions
        self.digest.statements += parsed.body.count - predictions
        self.digest.steps += [(place, DeploymentStep(*each)) for place, each in self._open if _is_deployment(each)]
        self.digest.steps.append((index, step))
        self._open = []

    def end(self) -> Digest:
        """All entries went by."""
        self.digest.steps += self._open
        return self.digest


def _is_deployment(step: Step) -> TypeGuard[EntryStep]:
    return isinstance(step, EntryStep) and step.entry[0] == _DEPLOYMENT_TAG


def _refuse(finding: Finding) -> None:
    raise LineageError(str(finding))
