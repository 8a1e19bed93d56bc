"""The second verifier over a whole ledger that the server wrote, and over what somebody made of it afterwards."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import grpc
import pytest

from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    append_pb2,
    append_pb2_grpc,
    entries_pb2,
    entries_pb2_grpc,
    entry_pb2,
    proofs_pb2,
    proofs_pb2_grpc,
)
from tests.second_verifier import merkle, notes, receipt, verifier
from tests.second_verifier.strict import Entry, RefusedError, decode_entry, split_packed
from tests.support.producer import Producer, a_prediction, compromise, registration, retirement
from tests.support.server import RunningServer

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Dump:
    """What the server gave: the whole ledger, its checkpoints, some of its receipts; and the ledger's own key."""

    packed: list[bytes]
    checkpoint: bytes
    vkey: str
    early_checkpoint: bytes
    consistency: list[bytes]
    receipts: dict[int, bytes]
    lineages: dict[str, bytes]
    indexes: dict[str, int]  # of some predictions, by their ids
    ledger_key: SigningKey

    @property
    def entries(self) -> list[bytes]:
        return [entry for part in self.packed for entry in split_packed(part)]

    def sign(self, entries: list[bytes]) -> bytes:
        """A checkpoint over other entries, as whoever holds the ledger's key can make it."""
        key = notes.parse_vkey(self.vkey)
        root = merkle.root_of([merkle.leaf_hash(entry) for entry in entries])
        text = f"{key.name}\n{len(entries)}\n{b64encode(root).decode()}\n"
        signature = b64encode(key.key_id + self.ledger_key.sign(text.encode())).decode()
        return f"{text}\n— {key.name} {signature}\n".encode()


def pack(entries: Iterable[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def read_key(path: Path) -> SigningKey:
    return SigningKey.from_seed(b64decode(path.read_text().strip().split("+", 4)[4])[1:])


def statements(origin: str) -> list[bytes]:
    """One of each kind, and an attestation with a key of its own."""
    digest = entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=bytes([9]) * 32)
    attester = SigningKey.generate()
    opinion = entry_pb2.AttestationBody(
        subject=digest, predicate_type="https://example.com/review", public_key=attester.public_key, time_unix_ns=5
    ).SerializeToString(deterministic=True)
    signature = attester.sign(verifier.signed_bytes("attestation", origin, opinion))
    entries = [
        entry_pb2.Entry(
            artifact=entry_pb2.Artifact(kind=entry_pb2.ARTIFACT_KIND_MODEL, digest=digest, name="model", size_bytes=7)
        ),
        entry_pb2.Entry(
            run=entry_pb2.Run(
                kind=entry_pb2.RUN_KIND_TRAINING,
                name="train",
                outputs=[entry_pb2.ArtifactReference(digest=digest, role="model")],
                parameters=[entry_pb2.Attribute(name="depth", value="3")],
            )
        ),
        entry_pb2.Entry(deployment=entry_pb2.Deployment(name="prod", model=digest)),
        entry_pb2.Entry(attestation=entry_pb2.Attestation(body=opinion, signature=signature)),
    ]
    return [entry.SerializeToString(deterministic=True) for entry in entries]


def write_ledger(data: Path) -> Dump:
    with (
        RunningServer(data, "--origin", "example.com/ledger/second") as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(f"unix:{data / 'admin.sock'}") as admin_channel,
    ):
        origin = server.origin
        admin_key = read_key(data / "keys" / "admin.key")
        administer = admin_pb2_grpc.AdminServiceStub(admin_channel)
        append = append_pb2_grpc.AppendServiceStub(channel)
        prove = proofs_pb2_grpc.ProofServiceStub(channel)
        reads = entries_pb2_grpc.EntryServiceStub(channel)

        def take(batch: bytes) -> None:
            append.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=batch), timeout=TIMEOUT_S)

        steady, forked, closed, retired, stolen = (Producer(origin) for _ in range(5))
        for producer in (steady, forked, closed, retired, stolen):
            entry = registration(origin, producer.key, admin_key)
            administer.RegisterProducer(admin_pb2.RegisterProducerRequest(entry=entry), timeout=TIMEOUT_S)
            take(producer.batch())
        said = statements(origin)
        take(steady.batch(said))
        take(steady.predictions(300))
        early = prove.GetCheckpoint(proofs_pb2.GetCheckpointRequest()).checkpoint
        first = steady.number
        lost = [(first, 2), (first + 5, 1), (first + 200, 70_000)]
        take(steady.batch([a_prediction(place, start_time_unix_ns=9 + place) for place in range(200)], lost))
        take(steady.batch([*statements(origin)[:1], a_prediction(1), *statements(origin)[1:3], a_prediction(2, row=3)]))
        take(steady.batch(lost=[(steady.number, 1)]))
        take(forked.predictions(20))
        other = replace(forked)
        take(forked.predictions(2))
        with pytest.raises(grpc.RpcError):
            take(other.predictions(3))
        take(closed.predictions(90))
        take(closed.batch([a_prediction(1)], closing=True))
        number = administer.GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=TIMEOUT_S).block_number
        entry = retirement(origin, retired.key.public_key, admin_key, number + 2)
        administer.RetireProducer(admin_pb2.RetireProducerRequest(entry=entry), timeout=TIMEOUT_S)
        take(retired.predictions(3))
        take(stolen.predictions(3))
        entry = compromise(origin, stolen.key.public_key, admin_key)
        administer.CompromiseProducer(admin_pb2.CompromiseProducerRequest(entry=entry), timeout=TIMEOUT_S)
        for producer in (retired, stolen, closed):
            with pytest.raises(grpc.RpcError):
                take(replace(producer).predictions(1))
        last = a_prediction(steady.number)
        body = steady.body([last])
        body.bindings[0].deployment_hash = merkle.leaf_hash(said[2])
        take(steady.seal([last], body))

        checkpoint = prove.GetCheckpoint(proofs_pb2.GetCheckpointRequest()).checkpoint
        key = notes.parse_vkey(server.verifier_key)
        sizes = [notes.open_checkpoint(note, key).size for note in (early, checkpoint)]
        request = proofs_pb2.GetConsistencyProofRequest(old_size=sizes[0], new_size=sizes[1])
        places = (0, 1, sizes[0] - 1, sizes[1] - 1)
        ids = [verifier.format_prediction_id(producer.chain_id, 4, (4).to_bytes(4)) for producer in (steady, closed)]
        ids[0] = verifier.format_prediction_id(steady.chain_id, first + 3, (1).to_bytes(4))
        ids.append(
            verifier.format_prediction_id(
                steady.chain_id, steady.number - 1, decode_entry(last).fields["input_commitment"]
            )
        )
        return Dump(
            [part.packed for part in reads.StreamEntries(entries_pb2.StreamEntriesRequest(end=sizes[1]))],
            checkpoint,
            server.verifier_key,
            early,
            list(prove.GetConsistencyProof(request).hashes),
            {index: prove.GetReceipt(proofs_pb2.GetReceiptRequest(index=index)).receipt for index in places},
            {name: prove.GetReceipt(proofs_pb2.GetReceiptRequest(prediction_id=name)).receipt for name in ids},
            {
                name: reads.GetPrediction(entries_pb2.GetPredictionRequest(prediction_id=name)).prediction.index
                for name in ids
            },
            read_key(data / "keys" / "ledger.key"),
        )


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    return write_ledger(tmp_path_factory.mktemp("second") / "ledger")


def found(dump: Dump, entries: list[bytes], checkpoint: bytes | None = None) -> str:
    findings = verifier.audit([pack(entries)], checkpoint or dump.checkpoint, dump.vkey)
    return "; ".join(f"{finding.index}: {finding.what}" for finding in findings)


def test_the_ledger_holds(dump: Dump) -> None:
    assert verifier.audit(dump.packed, dump.checkpoint, dump.vkey) == []
    kinds = [decode_entry(entry).kind for entry in dump.entries]
    assert len(kinds) > 600
    assert set(kinds) == {
        "prediction", "seal", "artifact", "run", "deployment", "attestation", "genesis", "block",
        "producer_registered", "producer_retired", "producer_compromised", "conflict",
    }  # fmt: skip
    assert found(dump, dump.entries, dump.sign(dump.entries)) == ""


def test_numbers_lead_to_the_same_entries(dump: Dump) -> None:
    key = notes.parse_vkey(dump.vkey)
    run = verifier.Audit(key, key.name)
    for entry in dump.entries:
        run.add(entry)
    assert len(run.prediction_ids) == sum(decode_entry(entry).kind == "prediction" for entry in dump.entries)
    assert {name: run.prediction_ids[name] for name in dump.indexes} == dump.indexes


def test_proofs_hold(dump: Dump) -> None:
    key = notes.parse_vkey(dump.vkey)
    old, new = (notes.open_checkpoint(note, key) for note in (dump.early_checkpoint, dump.checkpoint))
    assert merkle.verify_consistency(old.size, new.size, old.root, new.root, dump.consistency)
    assert not merkle.verify_consistency(old.size, new.size, new.root, old.root, dump.consistency)
    entries = dump.entries
    for index, proof in dump.receipts.items():
        assert notes.verify_tlog_proof(proof, entries[index], key) == (index, new)
        with pytest.raises(notes.NoteError):
            notes.verify_tlog_proof(proof, entries[index] + b".", key)
    for name, proof in dump.lineages.items():
        lineage = receipt.verify_lineage(proof, key)
        assert lineage.prediction_id == name
        assert dump.indexes[name] in lineage.entries
        with pytest.raises(notes.NoteError, match="another id"):
            receipt.verify_lineage(proof.replace(name.encode(), f"{name[:-1]}f".encode()), key)
    whole = [receipt.verify_lineage(proof, key) for proof in dump.lineages.values()][-1]
    kinds = [decode_entry(entries[index]).kind for index in whole.entries]
    assert kinds == ["artifact", "run", "deployment", "attestation", "run", "prediction"]
    assert not whole.unresolved


# What somebody makes of the entries, and what the audit then says of them even under a new checkpoint of the ledger's
# key. The old checkpoint finds each of them anyway.
Alteration = Callable[["Ledger"], list[bytes]]


class Ledger:
    """The entries with what they say, to find those that an alteration is about."""

    def __init__(self, entries: list[bytes]) -> None:
        self.raw = entries
        self.entries = [decode_entry(entry) for entry in entries]
        self.origin = str(self.entries[0].fields["origin"])

    def at(self, kind: str, holds: Callable[[Entry], bool] = lambda _: True, place: int = 0) -> int:
        return [index for index, entry in enumerate(self.entries) if entry.kind == kind and holds(entry)][place]

    def batch(self, least: int, place: int = 0) -> tuple[int, int]:
        """Where a batch of at least so many entries begins, and where its seal stands."""
        seal = self.at("seal", lambda entry: entry.body.get("count", 0) >= least, place)
        return seal - self.entries[seal].body["count"], seal

    def without(self, *indexes: int) -> list[bytes]:
        return [entry for index, entry in enumerate(self.raw) if index not in indexes]

    def replaced(self, index: int, *entries: bytes) -> list[bytes]:
        return [*self.raw[:index], *entries, *self.raw[index + 1 :]]

    def flipped(self, index: int, place: int) -> list[bytes]:
        data = bytearray(self.raw[index])
        data[place] ^= 1
        return self.replaced(index, bytes(data))

    def insert(self, index: int, *entries: bytes) -> list[bytes]:
        return [*self.raw[:index], *entries, *self.raw[index:]]


def swapped(ledger: Ledger) -> list[bytes]:
    first, _ = ledger.batch(20)
    entries = list(ledger.raw)
    entries[first], entries[first + 1] = entries[first + 1], entries[first]
    return entries


def later_batch(ledger: Ledger) -> list[bytes]:
    """The chain's batch of 300 stands behind its batch of 200, each in a block."""
    (start, seal), (_, after) = ledger.batch(300), ledger.batch(200, 1)
    moved = ledger.raw[start : seal + 1]
    return [*ledger.raw[:start], *ledger.raw[seal + 1 : after + 1], *moved, *ledger.raw[after + 1 :]]


def replay(least: int, place: int) -> Alteration:
    def altered(ledger: Ledger) -> list[bytes]:
        start, seal = ledger.batch(least, place)
        return ledger.insert(len(ledger.raw) - 1, *ledger.raw[start : seal + 1])

    return altered


def block_inside(ledger: Ledger) -> list[bytes]:
    start, _ = ledger.batch(300)
    return ledger.insert(start + 7, ledger.raw[ledger.at("block")])


def registered_late(ledger: Ledger) -> list[bytes]:
    index = ledger.at("producer_registered")
    seal = ledger.at("seal")
    return [*ledger.raw[:index], *ledger.raw[index + 1 : seal + 1], ledger.raw[index], *ledger.raw[seal + 1 :]]


def conflict_turned(ledger: Ledger) -> list[bytes]:
    index = ledger.at("conflict")
    seals = ledger.entries[index].fields
    turned = entry_pb2.Conflict(first_seal=seals["second_seal"], second_seal=seals["first_seal"])
    return ledger.replaced(index, entry_pb2.Entry(conflict=turned).SerializeToString(deterministic=True))


def conflict_early(ledger: Ledger) -> list[bytes]:
    """The conflict stands right behind the chain's opening and names its seals; the chain goes on."""
    index = ledger.at("conflict")
    body = decode_entry(ledger.entries[index].fields["first_seal"]).body
    seal = ledger.at("seal", lambda entry: entry.body["chain_id"] == body["chain_id"], 1)
    block = next(place for place in range(seal, 0, -1) if ledger.entries[place].kind == "block")
    return ledger.insert(block, ledger.raw[index])


def time_back(ledger: Ledger) -> list[bytes]:
    index = ledger.at("block", place=3)
    body = entry_pb2.Entry.FromString(ledger.raw[index])
    body.block.time_unix_ns = 1
    return ledger.replaced(index, body.SerializeToString(deterministic=True))


def other_encoding(ledger: Ledger) -> list[bytes]:
    index = ledger.at("prediction")
    data = ledger.raw[index]
    assert data[1:3] == bytes([len(data) - 2, 0x08])
    return ledger.replaced(index, bytes([data[0], data[1] + 1, 0x08, data[3] | 0x80, 0]) + data[4:])


def moved_before(kind: str, what: Callable[[Ledger], int]) -> Alteration:
    def altered(ledger: Ledger) -> list[bytes]:
        index, target = ledger.at(kind), what(ledger)
        rest = ledger.without(index)
        return [*rest[:target], ledger.raw[index], *rest[target:]]

    return altered


def opening_of(kind: str) -> Callable[[Ledger], int]:
    """The first seal by the key that the entry of `kind` ends."""

    def seal(ledger: Ledger) -> int:
        key = ledger.entries[ledger.at(kind)].body["public_key"]
        return ledger.at("seal", lambda entry: entry.body["public_key"] == key)

    return seal


def late_retired(ledger: Ledger) -> list[bytes]:
    """Blocks stand before the retired key's last batch, so that it is in a block that is too late."""
    key = ledger.entries[ledger.at("producer_retired")].body["public_key"]
    seal = ledger.at("seal", lambda entry: entry.body["public_key"] == key, 1)
    start = seal - ledger.entries[seal].body["count"]
    return ledger.insert(start, *later_blocks(ledger, start))


def later_blocks(ledger: Ledger, index: int) -> Iterator[bytes]:
    block = max(place for place in range(index) if ledger.entries[place].kind == "block")
    last, leaf = entry_pb2.Entry.FromString(ledger.raw[block]), merkle.leaf_hash(ledger.raw[block])
    for _ in range(3):
        last.block.number += 1
        last.block.previous_block_hash = leaf
        data = last.SerializeToString(deterministic=True)
        leaf = merkle.leaf_hash(data)
        yield data


def other_rows(ledger: Ledger) -> list[bytes]:
    """Row 1 becomes row 2 in a prediction; the seal, made anew by nobody who has the key, counts on."""
    index = ledger.at("prediction")
    body = entry_pb2.Entry.FromString(ledger.raw[index])
    body.prediction.binding_row = 2
    return ledger.replaced(index, body.SerializeToString(deterministic=True))


def forged_chain(ledger: Ledger) -> list[bytes]:
    """A chain, right in itself, of a key that nobody registered."""
    forged = Producer(ledger.origin)
    return ledger.insert(len(ledger.raw) - 1, *split_packed(forged.batch()), *split_packed(forged.predictions(1)))


def forged_registration(ledger: Ledger) -> list[bytes]:
    key = SigningKey.generate()
    return ledger.insert(len(ledger.raw) - 1, registration(ledger.origin, key, SigningKey.generate()))


ALTERATIONS: list[tuple[str, Alteration, str]] = [
    ("a bit of a commitment", lambda led: led.flipped(led.batch(300)[0], 40), "seal: root"),
    ("a bit of a status", lambda led: led.flipped(led.batch(90)[0] + 1, 3), "seal: "),
    ("a bit of a seal's signature", lambda led: led.flipped(led.batch(300)[1], -1), "seal: the signature"),
    ("a bit of a seal's body", lambda led: led.flipped(led.batch(300)[1], 30), "seal: the signature"),
    ("a bit of an admin's signature", lambda led: led.flipped(led.at("producer_retired"), -1), "retirement: the sig"),
    ("a bit of an attester's signature", lambda led: led.flipped(led.at("attestation"), -1), "attestation: the sig"),
    ("a bit of a registration", lambda led: led.flipped(led.at("producer_registered"), 12), "possession: the sig"),
    ("a bit of a conflict", lambda led: led.flipped(led.at("conflict"), -1), "seal: the signature"),
    ("a bit of the genesis", lambda led: led.flipped(0, 10), "genesis: another origin"),
    ("a bit of the ledger's key", lambda led: led.flipped(0, 40), "the verifier's key was never the ledger's"),
    ("a prediction less", lambda led: led.without(led.batch(300)[0] + 5), "no seal closed are not `count`"),
    ("a batch's seal less", lambda led: led.without(led.batch(300)[1]), "closed by no seal"),
    ("a batch less", lambda led: led.without(*range(led.batch(300)[0], led.batch(300)[1] + 1)), "batch_sequence"),
    ("a chain's opening less", lambda led: led.without(led.at("seal")), "of a chain that nobody opened"),
    ("a registration less", lambda led: led.without(led.at("producer_registered")), "key that is not registered"),
    ("a registration too late", registered_late, "key that is not registered"),
    ("a registration twice", lambda led: led.insert(9, led.raw[led.at("producer_registered")]), "registered twice"),
    ("a registration by another admin", forged_registration, "not a key of an administrator"),
    ("two predictions swapped", swapped, "seal: root"),
    ("a batch later in its chain", later_batch, "seal: link to the seal before"),
    ("a batch twice", replay(200, 1), "seal: batch_sequence"),
    ("a batch after its chain's closing", replay(90, 2), "seal: after the chain's closing"),
    ("a prediction without a seal", lambda led: led.insert(len(led.raw) - 1, a_prediction(1)), "closed by no seal"),
    ("a block less", lambda led: led.without(led.at("block", place=4)), "block: number"),
    ("a block twice", lambda led: led.insert(led.at("block", place=4), led.raw[led.at("block", place=4)]), "block: "),
    ("a block inside a batch", block_inside, "closed by no seal"),
    ("a block's time", time_back, "block: time goes back"),
    ("the last block less", lambda led: led.raw[:-1], "the last entry is no block"),
    ("the genesis again", lambda led: led.insert(7, led.raw[0]), "genesis: at index 0"),
    ("no genesis", lambda led: led.raw[1:], "genesis: at index 0"),
    ("a conflict's seals turned", conflict_turned, "the first seal is not the one in the log"),
    ("a conflict before its seals", conflict_early, "the first seal is not the one in the log"),
    ("a retirement earlier", moved_before("producer_retired", opening_of("producer_retired")), "by a retired key"),
    ("a batch too late for its key", late_retired, "by a retired key"),
    ("a compromise earlier", moved_before("producer_compromised", opening_of("producer_compromised")), "compromised"),
    ("another encoding of the same", other_encoding, "encoding: prediction"),
    ("another row", other_rows, "row is not in the table"),
    ("a chain of a key that nobody registered", forged_chain, "key that is not registered"),
]


@pytest.mark.parametrize(("altered", "what"), [case[1:] for case in ALTERATIONS], ids=[case[0] for case in ALTERATIONS])
def test_what_is_altered_is_found(dump: Dump, altered: Alteration, what: str) -> None:
    entries = altered(Ledger(dump.entries))
    assert entries != dump.entries
    assert "checkpoint: " in found(dump, entries)
    assert what in found(dump, entries, dump.sign(entries))


def test_a_tail_that_was_cut_off_is_found_by_a_kept_checkpoint_alone(dump: Dump) -> None:
    ledger = Ledger(dump.entries)
    cut = ledger.raw[: ledger.at("block", place=-2) + 1]
    assert "checkpoint: size" in found(dump, cut)
    assert found(dump, cut, dump.sign(cut)) == ""


def test_another_verifier_key_is_found(dump: Dump) -> None:
    public_key = SigningKey.generate().public_key
    name = dump.vkey.partition("+")[0]
    key_id = sha256(f"{name}\n\x01".encode() + public_key).hexdigest()[:8]
    vkey = f"{name}+{key_id}+{b64encode(bytes([1]) + public_key).decode()}"
    findings = {finding.what for finding in verifier.audit(dump.packed, dump.checkpoint, vkey)}
    assert findings == {"checkpoint: no known key signed it", "the verifier's key was never the ledger's"}


@pytest.mark.parametrize("cut", [1, 60, 20_000])
def test_packed_bytes_that_are_cut_off_are_found(dump: Dump, cut: int) -> None:
    whole = b"".join(dump.packed)
    assert verifier.audit([whole], dump.checkpoint, dump.vkey) == []
    assert verifier.audit([whole[:-cut]], dump.checkpoint, dump.vkey)


def test_a_length_of_zero_is_no_entry() -> None:
    with pytest.raises(RefusedError):
        list(split_packed(b"\0\0"))
