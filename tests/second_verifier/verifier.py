"""A second verifier of Lineage Ledger, written from proto/README.md and entry.proto alone.

It shares no code with the ledger or its client, so that both can be held against one another.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from tests.second_verifier.merkle import EMPTY_ROOT, Tree, leaf_hash, root_of
from tests.second_verifier.notes import (
    NoteError,
    VerifierKey,
    key_is_sound,
    open_checkpoint_by_size,
    parse_vkey,
    signature_holds,
    vkey_of,
)
from tests.second_verifier.strict import (
    MOST_BATCH_ENTRIES,
    PRODUCER_KINDS,
    Entry,
    Fields,
    RefusedError,
    decode_entry,
    is_relative_path,
    split_packed,
)

PREDICTION_ID = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,18})-([0-9a-f]{8})")
LEAST_COMMITMENT_KEY_BYTES = 16


def signed_bytes(what: str, origin: str, body: bytes) -> bytes:
    return f"lineage-ledger/{what}/v1\n{origin}\n".encode() + body


def chain_id_of(origin: str, public_key: bytes, nonce: bytes) -> bytes:
    return sha256(signed_bytes("chain", origin, public_key + nonce)).digest()[:16]


def parse_prediction_id(text: str) -> tuple[bytes, int, bytes]:
    match = PREDICTION_ID.fullmatch(text)
    if match is None or int(match[2]) >= 1 << 63:
        raise ValueError("not a prediction id")
    return bytes.fromhex(match[1]), int(match[2]), bytes.fromhex(match[3])


def format_prediction_id(chain_id: bytes, number: int, input_commitment: bytes) -> str:
    return f"{chain_id.hex()}-{number}-{input_commitment[:4].hex()}"


def commitment_key(period_key: bytes, role: str, counter: bytes) -> bytes:
    return commitment(period_key, f"lineage-ledger/nonce/v1\n{role}\n".encode() + counter)


def commitment(key: bytes, value: bytes) -> bytes:
    if len(key) < LEAST_COMMITMENT_KEY_BYTES:
        raise ValueError("a key of fewer than 16 bytes")
    return hmac.digest(key, value, "sha256")


def manifest_of(digests: Mapping[str, bytes]) -> bytes:
    """The manifest of files, given the SHA-256 of each by its path; its own SHA-256 is the folder's digest."""
    lines = []
    for path, digest in sorted((path.encode(), digest) for path, digest in digests.items()):
        if not is_relative_path(path.decode()) or len(path) > 1024 or re.search(rb"[\n\r\\\0]", path):
            raise ValueError(f"no path of a manifest: {path!r}")
        lines.append(digest.hex().encode() + b"  " + path + b"\n")
    return b"".join(lines)


def batch_numbers(seal: Fields) -> list[int]:
    """The number of each entry of the seal's batch; the numbers that are lost are left out."""
    number: int = seal.get("first_number", 0)
    numbers: list[int] = []
    lost = [*seal.get("lost", []), {"first": 1 << 64, "count": 1}]
    for gap in lost:
        taken = min(gap.get("first", 0) - number, seal.get("count", 0) - len(numbers))
        numbers += range(number, number + taken)
        number = gap.get("first", 0) + gap["count"]
    return numbers


def numbers_end(seal: Fields) -> int:
    """One more than the last number, lost or not, that the seal accounts for."""
    return int(seal.get("first_number", 0) + seal.get("count", 0) + sum(gap["count"] for gap in seal.get("lost", [])))


def seal_faults(origin: str, seal: Entry) -> list[str]:
    """What does not hold of a seal by itself, without its batch and its chain."""
    body = seal.body
    key, first, end = body["public_key"], body.get("first_number", 0), numbers_end(body)
    gaps = [(gap.get("first", 0), gap.get("first", 0) + gap["count"]) for gap in body.get("lost", [])]
    signed = signed_bytes("seal", origin, seal.fields["body"])
    nonce = body.get("chain_nonce", b"")
    counted = sum(binding.get("count", 0) for binding in body.get("bindings", []))
    rules = {
        "the signature does not hold": signature_holds(key, signed, seal.fields["signature"]),
        "lost numbers outside the batch's span": all(first <= start and stop <= end for start, stop in gaps),
        "bindings count more than the batch holds": counted <= body.get("count", 0),
        "numbers that no prediction id can hold": end < 1 << 63,
        "an empty batch with the root of another": "count" in body or body["root"] == EMPTY_ROOT,
        "chain id": not nonce or body["chain_id"] == chain_id_of(origin, key, nonce),
        "a chain's first batch is not empty": not nonce
        or not any(name in body for name in ("count", "lost", "bindings", "first_number")),
    }
    return [f"seal: {fault}" for fault, holds in rules.items() if not holds]


@dataclass(frozen=True)
class Finding:
    index: int | None  # None: of the checkpoint, or of the ledger as a whole
    what: str


@dataclass
class Producer:
    registered: int
    retired: int | None = None
    last_block: int = 0
    compromised: int | None = None


@dataclass
class Chain:
    public_key: bytes
    seals: list[bytes] = field(default_factory=list)  # leaf hashes of the seals' entries
    next_number: int = 0
    closed: bool = False
    conflict: bool = False


@dataclass
class Audit:
    """What an audit checks, entry by entry; what does not hold stands in `findings`."""

    key: VerifierKey
    origin: str
    findings: list[Finding] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    admins: list[bytes] = field(default_factory=list)
    ledger_keys: list[tuple[int, bytes]] = field(default_factory=list)
    block: Fields = field(default_factory=dict)
    block_hash: bytes = b""
    last_kind: str = ""
    producers: dict[bytes, Producer] = field(default_factory=dict)
    chains: dict[bytes, Chain] = field(default_factory=dict)
    unsealed: list[tuple[bytes, Entry]] = field(default_factory=list)
    prediction_ids: dict[str, int] = field(default_factory=dict)

    def _need(self, holds: bool, what: str) -> None:
        if not holds:
            self.findings.append(Finding(self.tree.size, what))

    def add(self, data: bytes) -> None:
        index, leaf = self.tree.size, leaf_hash(data)
        try:
            entry = decode_entry(data)
        except RefusedError as refused:
            self._need(False, f"encoding: {refused}")
            entry = Entry("unknown", {}, {})
        self._need((entry.kind == "genesis") == (index == 0), "genesis: at index 0, and only there")
        if entry.kind in PRODUCER_KINDS:
            self.unsealed.append((leaf, entry))
        elif entry.kind == "seal":
            self._seal(leaf, entry)
        else:
            self._need(not self.unsealed, "entries before are closed by no seal")
        if entry.kind not in PRODUCER_KINDS:
            self.unsealed = []
        if entry.kind == "genesis" and index == 0:
            self._genesis(leaf, entry.fields)
        elif entry.kind == "block":
            self._block(leaf, entry.fields)
        elif entry.kind == "conflict":
            self._conflict(entry.fields)
        elif entry.kind == "attestation" and "public_key" in entry.body:
            self._signature("attestation", entry.body["public_key"], entry.fields["body"], entry.fields["signature"])
        elif "admin_signature" in entry.fields:
            self._admin(entry)
        self.last_kind = entry.kind
        self.tree.append(leaf)

    def _signature(self, what: str, public_key: bytes, body: bytes, signature: bytes) -> None:
        holds = signature_holds(public_key, signed_bytes(what, self.origin, body), signature)
        self._need(holds, f"{what}: the signature does not hold")

    def _genesis(self, leaf: bytes, fields: Fields) -> None:
        self._need(fields["origin"] == self.origin, "genesis: another origin")
        self.ledger_keys, self.admins = [(0, fields["ledger_public_key"])], fields["admin_public_keys"]
        self.block, self.block_hash = {"time_unix_ns": fields["time_unix_ns"]}, leaf

    def _block(self, leaf: bytes, fields: Fields) -> None:
        self._need(fields["number"] == self.block.get("number", 0) + 1, "block: number")
        self._need(fields["previous_block_hash"] == self.block_hash, "block: link to the block before")
        self._need(fields["time_unix_ns"] >= self.block.get("time_unix_ns", 0), "block: time goes back")
        self.block, self.block_hash = fields, leaf

    def _admin(self, entry: Entry) -> None:
        fields, body, index = entry.fields, entry.body, self.tree.size
        what = {
            "producer_registered": "registration", "producer_retired": "retirement", "removal": "removal",
            "producer_compromised": "compromise", "ledger_key": "ledger-key",
        }[entry.kind]  # fmt: skip
        self._need(fields["admin_public_key"] in self.admins, f"{what}: not a key of an administrator")
        self._signature(what, fields["admin_public_key"], fields["body"], fields["admin_signature"])
        if what == "ledger-key":
            had = [key for _, key in self.ledger_keys]
            self._need(body["old_public_key"] in had[-1:], "ledger-key: the old key is not in force")
            self._need(body["new_public_key"] not in had, "ledger-key: the new key is not new")
            self._need(key_is_sound(body["new_public_key"]), "ledger-key: the new key is not sound")
            self._signature(what, body["old_public_key"], fields["body"], fields["old_signature"])
            self._signature(what, body["new_public_key"], fields["body"], fields["new_signature"])
            self.ledger_keys.append((index, body["new_public_key"]))
        elif what == "registration":
            self._need(key_is_sound(body["public_key"]), "registration: the key is not sound")
            self._signature("possession", body["public_key"], body["public_key"], fields["possession_signature"])
            self._need(body["public_key"] not in self.producers, "registration: a key registered twice")
            self.producers.setdefault(body["public_key"], Producer(index))
        elif what != "removal":
            producer = self.producers.get(body["public_key"])
            self._need(producer is not None, f"{what}: a key that is not registered")
            ended = producer and (producer.compromised or (what == "retirement" and producer.retired))
            self._need(not ended, f"{what}: of a key that was ended before")
            if producer and what == "compromise":
                producer.compromised = index
            elif producer:
                producer.retired, producer.last_block = index, body["last_block"]

    def _seal(self, leaf: bytes, entry: Entry) -> None:
        body, index = entry.body, self.tree.size
        key, count, sequence = body["public_key"], body.get("count", 0), body.get("batch_sequence", 0)
        for fault in seal_faults(self.origin, entry):
            self._need(False, fault)
        self._need(count == len(self.unsealed), "seal: the entries before it that no seal closed are not `count`")
        self._need(count <= MOST_BATCH_ENTRIES, "seal: too many entries")
        batch = self.unsealed[max(0, len(self.unsealed) - count) :]
        self._need(body["root"] == root_of([hashed for hashed, _ in batch]), "seal: root")
        self._batch(body, [batched for _, batched in batch])
        chain = self.chains.get(body["chain_id"])
        self._validity(key, index - count, opening=sequence == 0)
        if sequence == 0:
            self._need(chain is None, "seal: opens a chain that is there")
            chain = self.chains.setdefault(body["chain_id"], Chain(key))
        elif chain is None:
            return self._need(False, "seal: of a chain that nobody opened")
        else:
            self._need(chain.public_key == key, "seal: not by the chain's key")
            self._need(len(chain.seals) == sequence, "seal: batch_sequence")
            self._need(body["previous_seal_hash"] == chain.seals[-1], "seal: link to the seal before")
            self._need(body.get("first_number", 0) == chain.next_number, "seal: first_number")
        self._need(not chain.closed, "seal: after the chain's closing")
        self._need(not chain.conflict, "seal: after a conflict")
        chain.closed, chain.next_number = "closing" in body, numbers_end(body)
        chain.seals.append(leaf)
        for place, (number, (_, batched)) in enumerate(zip(batch_numbers(body), batch)):
            if batched.kind == "prediction":
                named = format_prediction_id(body["chain_id"], number, batched.fields["input_commitment"])
                self.prediction_ids[named] = index - len(batch) + place
        return None

    def _batch(self, body: Fields, batch: list[Entry]) -> None:
        predictions = [entry.fields for entry in batch if entry.kind == "prediction"]
        times = [prediction["start_time_unix_ns"] for prediction in predictions]
        claimed = (body.get("earliest_start_time_unix_ns"), body.get("latest_start_time_unix_ns"))
        self._need(claimed == ((min(times), max(times)) if times else (None, None)), "seal: time range")
        bindings = body.get("bindings", [])
        counts = [0] * (len(bindings) + 1)
        for prediction in predictions:
            row = prediction["binding_row"]
            self._need(row < len(counts), "seal: a prediction's row is not in the table of bindings")
            counts[min(row, len(bindings))] += row < len(counts)
        self._need(counts[1:] == [binding.get("count", 0) for binding in bindings], "seal: counts of bindings")

    def _validity(self, public_key: bytes, index: int, *, opening: bool) -> None:
        producer = self.producers.get(public_key)
        if producer is None or producer.registered >= index:
            return self._need(False, "seal: by a key that is not registered")
        self._need(producer.compromised is None or producer.compromised >= index, "seal: by a compromised key")
        if producer.retired is not None and producer.retired < index:
            late = self.block.get("number", 0) + 1 > producer.last_block
            self._need(not opening and not late, "seal: by a retired key")
        return None

    def _conflict(self, fields: Fields) -> None:
        first, second = (decode_entry(fields[name]) for name in ("first_seal", "second_seal"))
        for seal in (first, second):
            self._signature("seal", seal.body["public_key"], seal.fields["body"], seal.fields["signature"])
        for name in ("public_key", "chain_id", "batch_sequence"):
            self._need(first.body.get(name) == second.body.get(name), f"conflict: two seals with another {name}")
        chain = self.chains.get(first.body["chain_id"])
        sequence = first.body.get("batch_sequence", 0)
        if chain is None or chain.seals[sequence : sequence + 1] != [leaf_hash(fields["first_seal"])]:
            return self._need(False, "conflict: the first seal is not the one in the log")
        self._need(not chain.conflict, "conflict: the second of one chain")
        chain.conflict = True
        return None

    def _key_at(self, size: int) -> VerifierKey:
        if self.key.public_key not in [key for _, key in self.ledger_keys]:
            return self.key
        return vkey_of(self.origin, [key for index, key in self.ledger_keys if index < max(size, 1)][-1])

    def finish(self, checkpoint: bytes) -> None:
        def need(holds: bool, what: str) -> None:
            if not holds:
                self.findings.append(Finding(None, what))

        need(self.last_kind == "block", "the last entry is no block")
        need(self.key.public_key in [key for _, key in self.ledger_keys], "the verifier's key was never the ledger's")
        try:
            signed = open_checkpoint_by_size(checkpoint, self._key_at)
        except NoteError as error:
            return need(False, f"checkpoint: {error}")
        need(signed.size == self.tree.size, f"checkpoint: size {signed.size}, and {self.tree.size} entries")
        need(signed.root == self.tree.root(), "checkpoint: another root")
        return None


def audit(packed: Iterable[bytes], checkpoint: bytes, vkey: str) -> list[Finding]:
    """All findings of an audit of the whole ledger; none if it holds."""
    key = parse_vkey(vkey)
    run = Audit(key, key.name)
    for part in packed:
        try:
            for entry in split_packed(part):
                run.add(entry)
        except RefusedError as refused:
            run.findings.append(Finding(run.tree.size, str(refused)))
    run.finish(checkpoint)
    return run.findings
