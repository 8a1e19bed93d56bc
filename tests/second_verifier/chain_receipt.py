"""Chain receipts: a run of a chain's seals without a gap, proved offline."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.second_verifier.ledger_keys import follow
from tests.second_verifier.merkle import leaf_hash, multiproof_root
from tests.second_verifier.notes import (
    DECIMAL,
    NoteError,
    VerifierKey,
    base64_bytes,
    key_is_sound,
    open_checkpoint_by_size,
    signature_holds,
)
from tests.second_verifier.strict import Entry, decode_entry
from tests.second_verifier.verifier import numbers_end, seal_faults, signed_bytes

FIRST_LINE = "lineage-ledger/chain-receipt/v1"
NAMED = re.compile(r"chain ([0-9a-f]{32})-(0|[1-9][0-9]*)")
MOST_BYTES, MOST_ENTRIES, MOST_SEALS = 4 << 20, 5_120, 4_096
ADMIN_KINDS = {
    "producer_registered": "registration",
    "producer_retired": "retirement",
    "producer_compromised": "compromise",
}


@dataclass(frozen=True)
class Run:
    chain_id: bytes
    first_sequence: int
    seals: list[int]  # indexes
    first_number: int
    end: int  # one more than the last number
    conflict: int | None  # index
    successor: bytes | None  # chain id


@dataclass
class _Key:
    registered: int
    retired: int | None = None
    last_block: int = 0
    compromised: int | None = None

    def may_open(self, index: int) -> bool:
        return self.registered < index and not any(end is not None and end < index for end in self.ends)

    @property
    def ends(self) -> tuple[int | None, int | None]:
        return self.retired, self.compromised


def _need(holds: bool, why: str) -> None:
    if not holds:
        raise NoteError(why)


def _text(data: bytes) -> tuple[bytes, int, dict[int, bytes], list[bytes], bytes]:
    """Chain id, first sequence, entries by index, hashes of the tree, signed note."""
    _need(len(data) <= MOST_BYTES, "more than 4 MiB")
    head, separator, note = data.partition(b"\n\n")
    try:
        first, named, *lines, tree = head.decode("ascii").split("\n")
    except ValueError:
        raise NoteError("not a chain receipt") from None
    match = NAMED.fullmatch(named)
    if not separator or first != FIRST_LINE or match is None or int(match[2]) >= 1 << 63:
        raise NoteError("not a chain receipt")
    _need(len(lines) <= MOST_ENTRIES, "too many entries")
    entries: dict[int, bytes] = {}
    for line in lines:
        word, index, encoded = parts if len(parts := line.split(" ")) == 3 else ("", "", "")
        _need(word == "entry" and DECIMAL.fullmatch(index) is not None, "an entry's line of another form")
        _need(not entries or int(index) > next(reversed(entries)), "lines out of order")
        entries[int(index)] = base64_bytes(encoded)
    word, *hashes = tree.split(" ")
    _need(word == "tree", "no tree")
    return bytes.fromhex(match[1]), int(match[2]), entries, [base64_bytes(text) for text in hashes], note


def _key(origin: str, admins: list[bytes], entries: Mapping[int, Entry]) -> tuple[bytes, _Key]:
    """The one key that the entries are about, and what became of it."""
    keys: dict[bytes, _Key] = {}
    for index, entry in entries.items():
        if entry.kind not in ADMIN_KINDS:
            continue
        fields, body, key = entry.fields, entry.body, entry.body["public_key"]
        admin, message = fields["admin_public_key"], signed_bytes(ADMIN_KINDS[entry.kind], origin, fields["body"])
        _need(admin in admins and signature_holds(admin, message, fields["admin_signature"]), "not by an administrator")
        known = keys.get(key)
        if entry.kind == "producer_registered":
            possession = signature_holds(key, signed_bytes("possession", origin, key), fields["possession_signature"])
            _need(known is None and key_is_sound(key) and possession, "a key registered twice, or not possessed")
            keys[key] = _Key(index)
            continue
        if known is None or known.compromised is not None:
            raise NoteError("a key ended that is not registered, or was compromised")
        if entry.kind == "producer_retired":
            _need(known.retired is None, "a key retired twice")
            known.retired, known.last_block = index, body.get("last_block", 0)
        else:
            known.compromised = index
    _need(len(keys) == 1, "not one key")
    return next(iter(keys.items()))


def verify_chain(data: bytes, pinned: VerifierKey) -> Run:
    """What the receipt proves; ValueError if it proves nothing."""
    chain_id, first_sequence, raw, proof, note = _text(data)
    entries = {index: decode_entry(entry) for index, entry in raw.items()}

    def of(kind: str) -> dict[int, Entry]:
        return {index: entry for index, entry in entries.items() if entry.kind == kind}

    _need([*of("genesis")] == [0], "not one genesis at index 0")
    genesis = entries[0]
    checkpoint = open_checkpoint_by_size(note, follow(pinned, genesis, of("ledger_key")))
    origin = checkpoint.origin
    _need(genesis.fields["origin"] == origin, "a genesis of another origin")
    leaves = {index: leaf_hash(entry) for index, entry in raw.items()}
    _need(multiproof_root(leaves, checkpoint.size, proof) == checkpoint.root, "the tree leads to another root")
    kinds = {"genesis", "ledger_key", "seal", "block", "conflict", *ADMIN_KINDS}
    _need(all(entry.kind in kinds for entry in entries.values()), "an entry that does not belong here")
    public_key, key = _key(origin, genesis.fields["admin_public_keys"], entries)

    seals = of("seal")
    starts = {index: index - seal.body.get("count", 0) for index, seal in seals.items()}
    for index, seal in seals.items():
        for fault in seal_faults(origin, seal):
            raise NoteError(fault)
        _need(seal.body["public_key"] == public_key, "a seal of another key")
        _need(
            starts[index] >= 0 and not any(starts[index] <= at < index for at in entries), "a batch with what is here"
        )

    own = {index: seal.body for index, seal in seals.items() if seal.body["chain_id"] == chain_id}
    opening = min(own, default=None)
    if opening is None or "batch_sequence" in own[opening]:
        raise NoteError("no seal that opens the chain")
    _need(key.may_open(opening), "opened by a key that might not")
    run = [index for index in own if first_sequence == 0 or index != opening]
    _need(1 <= len(run) <= MOST_SEALS, "no run, or too long a one")
    for place, index in enumerate(run):
        body = own[index]
        _need(body.get("batch_sequence", 0) == first_sequence + place, "another sequence")
        if place:
            before = own[run[place - 1]]
            _need(body["previous_seal_hash"] == leaves[run[place - 1]], "another link")
            _need(body.get("first_number", 0) == numbers_end(before), "another first number")
            _need("closing" not in before, "behind a closing seal")
    last = run[-1]
    _need(key.compromised is None or key.compromised >= starts[last], "sealed by a compromised key")

    blocks = of("block")
    _need(len(blocks) == 1 and min(blocks) > last, "not one block, behind the run")
    number = next(iter(blocks.values())).fields["number"]
    _need(key.retired is None or key.retired > last or number <= key.last_block, "sealed by a retired key")

    return Run(
        chain_id,
        first_sequence,
        run,
        own[run[0]].get("first_number", 0),
        numbers_end(own[last]),
        _conflict(
            origin,
            chain_id,
            public_key,
            of("conflict"),
            {own[at].get("batch_sequence", 0): raw[at] for at in run},
            last,
        ),
        _successor(chain_id, key, {index: seal for index, seal in seals.items() if index not in own}),
    )


def _conflict(
    origin: str, chain_id: bytes, public_key: bytes, conflicts: Mapping[int, Entry], run: Mapping[int, bytes], last: int
) -> int | None:
    if not conflicts:
        return None
    _need(len(conflicts) == 1, "two conflicts")
    ((index, conflict),) = conflicts.items()
    sequences = set()
    for name in ("first_seal", "second_seal"):
        seal = decode_entry(conflict.fields[name])
        _need((seal.body["chain_id"], seal.body["public_key"]) == (chain_id, public_key), "another's conflict")
        message = signed_bytes("seal", origin, seal.fields["body"])
        _need(signature_holds(public_key, message, seal.fields["signature"]), "a conflict's signature")
        sequences.add(seal.body.get("batch_sequence", 0))
    _need(len(sequences) == 1 and index > last, "a conflict for two sequences, or before the run's end")
    first = conflict.fields["first_seal"]
    _need(run.get(sequences.pop(), first) == first, "a conflict whose first seal is not the run's")
    return index


def _successor(chain_id: bytes, key: _Key, others: Mapping[int, Entry]) -> bytes | None:
    if not others:
        return None
    _need(len(others) == 1, "seals of other chains")
    ((index, seal),) = others.items()
    predecessor = seal.body.get("predecessor", {}).get("chain_id")
    _need("batch_sequence" not in seal.body and predecessor == chain_id, "a seal that does not name this chain")
    _need(key.may_open(index), "recovered by a key that might not open a chain")
    return bytes(seal.body["chain_id"])
