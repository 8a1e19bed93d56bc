"""What the indexes hold of an entry. Pure; predictions are not looked at here, only their seals and request ids."""

from __future__ import annotations

from dataclasses import dataclass, field

from lineage_ledger.formats import merkle
from lineage_ledger.trace import digest_key
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.store.index_store import Posting, PostingRow


@dataclass(slots=True)
class Tally:
    """Postings and totals of a stretch of the log."""

    postings: list[PostingRow] = field(default_factory=list)
    predictions: int = 0
    lost: int = 0
    statements: int = 0

    def add(self, index: int, entry: bytes) -> None:
        """Take in an entry that is not a prediction, from a log that holds strictly encoded entries only."""
        parsed = entry_pb2.Entry.FromString(entry)
        kind = parsed.WhichOneof("kind")
        if kind == "seal":
            self._add_seal(index, entry_pb2.SealBody.FromString(parsed.seal.body))
        elif kind in ("artifact", "run", "deployment", "attestation"):
            self.statements += 1
            self._post(Posting.STATEMENT, merkle.leaf_hash(entry), index)
            self._add_statement(index, parsed)

    def _add_seal(self, index: int, body: entry_pb2.SealBody) -> None:
        self._post(Posting.SEALED, body.public_key, index)
        if body.batch_sequence == 0:
            self._post(Posting.OPENED, body.public_key, index)
            if body.HasField("predecessor") and body.predecessor.chain_id != body.chain_id:
                self._post(Posting.RECOVERED, body.predecessor.chain_id + body.public_key, index)
        self.lost += sum(lost.count for lost in body.lost)
        bound: dict[bytes, int] = {}
        for binding in body.bindings:  # one deployment may have several rows
            bound[binding.deployment_hash] = bound.get(binding.deployment_hash, 0) + binding.count
        for deployment_hash, count in bound.items():
            if count:
                self.predictions += count
                self.postings.append(PostingRow(Posting.BOUND, deployment_hash, index, count))

    def _add_statement(self, index: int, entry: entry_pb2.Entry) -> None:
        if entry.HasField("artifact"):
            self._post(Posting.ARTIFACT, digest_key(entry.artifact.digest), index)
        elif entry.HasField("deployment"):
            self._post(Posting.DEPLOYED, digest_key(entry.deployment.model), index)
        elif entry.HasField("attestation"):
            body = entry_pb2.AttestationBody.FromString(entry.attestation.body)
            self._post(Posting.ATTESTED, digest_key(body.subject), index)
        else:
            run = entry.run
            used = {digest_key(reference.digest) for reference in run.inputs}
            used |= {digest_key(digest) for digest in (run.code, run.environment) if digest.value}
            for key in sorted(used):
                self._post(Posting.USED, key, index)
            for key in sorted({digest_key(reference.digest) for reference in run.outputs}):
                self._post(Posting.GENERATED, key, index)

    def _post(self, kind: Posting, subject: bytes, index: int) -> None:
        self.postings.append(PostingRow(kind, subject, index))
