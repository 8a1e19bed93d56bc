"""Lineage receipts: a prediction with all it came from, proved offline."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.second_verifier.ledger_keys import follow
from tests.second_verifier.merkle import EMPTY_ROOT, leaf_hash, multiproof_root
from tests.second_verifier.notes import (
    DECIMAL,
    NoteError,
    VerifierKey,
    base64_bytes,
    open_checkpoint_by_size,
    signature_holds,
)
from tests.second_verifier.strict import Entry, Fields, decode_entry
from tests.second_verifier.verifier import (
    batch_numbers,
    format_prediction_id,
    parse_prediction_id,
    seal_faults,
    signed_bytes,
)

FIRST_LINE = "lineage-ledger/receipt/v1"
MOST_BYTES, MOST_ENTRIES, MOST_OF_A_KIND = 4 << 20, 4096, 16
Digest = tuple[int, bytes]


@dataclass(frozen=True)
class Lineage:
    prediction_id: str
    entries: list[int]  # the prediction and its statements
    unresolved: set[Digest]


def _need(holds: bool, why: str) -> None:
    if not holds:
        raise NoteError(why)


def _numbered(lines: Iterable[str]) -> dict[int, list[str]]:
    """What stands behind the numbers of lines that are a word, a number and more, ascending by the number."""
    rest: dict[int, list[str]] = {}
    for line in lines:
        _, number, *parts = line.split(" ")
        _need(DECIMAL.fullmatch(number) is not None, "a number of another form")
        _need(not rest or int(number) > next(reversed(rest)), "lines out of order")
        rest[int(number)] = parts
    return rest


def _digest(digest: Fields) -> Digest:
    return digest["algorithm"], digest["value"]


def _digests(fields: Fields, *names: str) -> list[Digest]:
    return [_digest(fields[name]) for name in names if name in fields]


class _Receipt:
    def __init__(self, receipt: bytes, key: VerifierKey) -> None:
        _need(len(receipt) <= MOST_BYTES, "more than 4 MiB")
        head, separator, note = receipt.partition(b"\n\n")
        try:
            first, named, *lines = head.decode("ascii").split("\n")
        except ValueError:
            raise NoteError("not a lineage receipt") from None
        _need(bool(separator) and first == FIRST_LINE and named.startswith("prediction "), "not a lineage receipt")
        self.prediction_id = named.removeprefix("prediction ")
        self.chain_id, self.number, _ = parse_prediction_id(self.prediction_id)
        entries = [line for line in lines if line.startswith("entry ")]
        batches = [line for line in lines if line.startswith("batch ")]
        _need(lines[:-1] == entries + batches and len(entries) <= MOST_ENTRIES, "lines of another form, or too many")
        self.raw: dict[int, bytes] = {}
        for index, parts in _numbered(entries).items():
            _need(len(parts) == 1, "an entry's line of another form")
            self.raw[index] = base64_bytes(parts[0])
        self.batches = {seal: [base64_bytes(part) for part in rest] for seal, rest in _numbered(batches).items()}
        word, *hashes = lines[-1].split(" ")
        _need(word == "tree", "no tree")
        self.entries = {index: decode_entry(data) for index, data in self.raw.items()}
        genesis = self.entries.get(0)
        if genesis is None or genesis.kind != "genesis":
            raise NoteError("no genesis")
        key_at = follow(key, genesis, self.of("ledger_key"))
        checkpoint = open_checkpoint_by_size(note, key_at)
        leaves = {index: leaf_hash(data) for index, data in self.raw.items()}
        proof = [base64_bytes(text) for text in hashes]
        _need(multiproof_root(leaves, checkpoint.size, proof) == checkpoint.root, "the tree leads to another root")
        self.origin, self.admins = checkpoint.origin, genesis.fields["admin_public_keys"]
        _need(genesis.fields["origin"] == self.origin, "a genesis of another origin")

    def of(self, *kinds: str) -> dict[int, Entry]:
        return {index: entry for index, entry in self.entries.items() if entry.kind in kinds}

    def signed(self, what: str, public_key: bytes, body: bytes, signature: bytes) -> None:
        _need(signature_holds(public_key, signed_bytes(what, self.origin, body), signature), f"{what}: signature")

    def admin(self, what: str, entry: Entry) -> bytes:
        """The key that an admin's entry is about."""
        fields = entry.fields
        _need(fields["admin_public_key"] in self.admins, f"{what}: not an administrator")
        self.signed(what, fields["admin_public_key"], fields["body"], fields["admin_signature"])
        return bytes(entry.body["public_key"])

    def keys(self, what: str, kind: str) -> dict[bytes, tuple[int, int]]:
        """Where each key's entry of a kind stands, and its last block; each key that sealed here has one at most."""
        found = [(self.admin(what, e), (index, e.body.get("last_block", 0))) for index, e in self.of(kind).items()]
        signers = {seal.body["public_key"] for seal in self.of("seal").values()}
        _need(len(dict(found)) == len(found) and dict(found).keys() <= signers, f"{what}: of no key here, or twice")
        return dict(found)

    def check_seals(self) -> dict[int, int]:
        """The seal of each producer's entry."""
        registered = self.keys("registration", "producer_registered")
        retired = self.keys("retirement", "producer_retired")
        compromised = self.keys("compromise", "producer_compromised")
        for ended in (retired, compromised):
            in_order = all(registered.get(key, (index,))[0] < index for key, (index, _) in ended.items())
            _need(in_order, "a key ended before it is registered")
        in_order = all(compromised.get(key, (index,))[0] >= index for key, (index, _) in retired.items())
        _need(in_order, "a key retired after it was compromised")
        for entry in self.of("producer_registered").values():
            key = entry.body["public_key"]
            self.signed("possession", key, key, entry.fields["possession_signature"])
        blocks = self.of("block")
        _need(len(blocks) == 1, "not one block")
        ((block_index, block),) = blocks.items()
        wanted = self.of("prediction", "artifact", "run", "deployment", "attestation")
        seals = self.of("seal")
        openings = seals.keys() - self.batches.keys()
        _need(self.batches.keys() <= seals.keys() and len(openings) == 1, "the batches are not the seals' but one")
        (self.opening,) = openings
        for fault in seal_faults(self.origin, seals[self.opening]):
            raise NoteError(fault)
        opener = seals.pop(self.opening).body["public_key"]
        _need(registered.get(opener, (self.opening,))[0] < self.opening, "opened by a key not registered before")
        _need(retired.get(opener, (self.opening,))[0] >= self.opening, "opened by a retired key")
        closed: dict[int, int] = {}
        for index, seal in seals.items():
            body, key = seal.body, seal.body["public_key"]
            start = index - body.get("count", 0)
            for fault in seal_faults(self.origin, seal):
                raise NoteError(fault)
            _need(registered.get(key, (index,))[0] < start, "sealed by a key that is not registered before")
            _need(compromised.get(key, (index,))[0] >= start, "sealed by a compromised key")
            inside = [place for place in self.entries if start <= place < index]
            _need(bool(inside) and all(place in wanted for place in inside), "a seal that closes nothing here")
            leaves = {place - start: leaf_hash(self.raw[place]) for place in inside}
            root = multiproof_root(leaves, index - start, self.batches[index])
            _need(root == body["root"] != EMPTY_ROOT, "a batch leads to another root")
            closed |= dict.fromkeys(inside, index)
            for prediction in (self.entries[place].fields for place in inside if wanted[place].kind == "prediction"):
                _need(index < block_index, "the block is not after the prediction")
                end, last_block = retired.get(key, (index, 0))
                _need(end >= start or block.fields["number"] <= last_block, "sealed by a retired key")
                earliest, latest = (body.get(f"{which}_start_time_unix_ns", 0) for which in ("earliest", "latest"))
                _need(earliest <= prediction["start_time_unix_ns"] <= latest, "a time outside the seal's range")
        _need(closed.keys() == wanted.keys(), "an entry without its seal")
        return closed

    def walk(self, closed: dict[int, int]) -> tuple[set[int], set[Digest]]:
        """The statements that the prediction leads to, and the digests that no artifact here has."""
        ((index, prediction),) = self.of("prediction").items() if len(self.of("prediction")) == 1 else [(0, None)]
        if prediction is None:
            raise NoteError("not one prediction")
        seal = self.entries[closed[index]].body
        number = batch_numbers(seal)[index - closed[index] + seal["count"]]
        named = format_prediction_id(seal["chain_id"], number, prediction.fields["input_commitment"])
        _need(named == self.prediction_id, "a prediction of another id")
        opening = self.entries[self.opening].body
        _need("batch_sequence" not in opening, "the chain's first seal is another")
        same = all(opening[name] == seal[name] for name in ("chain_id", "public_key"))
        _need(same, "the chain was opened by another key, or is another")
        row, bindings = prediction.fields["binding_row"], seal.get("bindings", [])
        _need(row <= len(bindings) and "count" in bindings[row - 1], "a row that the seal does not count")
        deployment_hash = bindings[row - 1]["deployment_hash"]
        reached, digests, unseen = {index}, set[Digest](), list[Digest]()
        for place, deployment in self.of("deployment").items():
            _need(leaf_hash(self.raw[place]) == deployment_hash and len(reached) == 1, "another deployment")
            reached.add(place)
            unseen += _digests(deployment.fields, "model", "configuration", "image", "code", "environment")
        artifacts = {place: _digest(entry.fields["digest"]) for place, entry in self.of("artifact").items()}
        _need(max(Counter(artifacts.values()).values(), default=1) == 1, "an artifact twice")
        while unseen:
            digest = unseen.pop()
            if digest in digests:
                continue
            digests.add(digest)
            reached |= {place for place, of in artifacts.items() if of == digest}
            reached.update(self.about(digest, "attestation", lambda entry: [entry.body["subject"]]))
            runs = self.about(digest, "run", lambda entry: [to["digest"] for to in entry.fields.get("outputs", [])])
            reached.update(runs)
            for run in (self.entries[place].fields for place in runs):
                unseen += [_digest(used["digest"]) for used in run.get("inputs", [])]
                unseen += _digests(run, "code", "environment")
        return reached, digests - set(artifacts.values())

    def about(self, digest: Digest, kind: str, digests: Callable[[Entry], Iterable[Fields]]) -> list[int]:
        """The first entries of a kind of which one of the digests is this one."""
        found = [place for place, entry in self.of(kind).items() if digest in map(_digest, digests(entry))]
        return found[:MOST_OF_A_KIND]


def verify_lineage(data: bytes, key: VerifierKey) -> Lineage:
    """What the receipt proves; ValueError if it proves nothing."""
    receipt = _Receipt(data, key)
    closed = receipt.check_seals()
    reached, unresolved = receipt.walk(closed)
    _need(reached == closed.keys(), "a statement that the prediction does not lead to")
    for entry in receipt.of("attestation").values():
        if "public_key" in entry.body:
            fields = entry.fields
            receipt.signed("attestation", entry.body["public_key"], fields["body"], fields["signature"])
    known = {
        "genesis",
        "ledger_key",
        "block",
        "seal",
        "producer_registered",
        "producer_retired",
        "producer_compromised",
    }
    _need(len(receipt.of(*known)) + len(closed) == len(receipt.entries), "an entry that is neither")
    _need(len(receipt.of("genesis")) == 1, "a second genesis")
    return Lineage(receipt.prediction_id, sorted(reached), unresolved)
