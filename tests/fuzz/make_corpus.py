"""Writes the seeds of the fuzzers, a few kilobytes for each target: `python -m tests.fuzz.make_corpus`.

What a fuzzer found is a seed too; such files are named `found-…`, and are left alone here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from lineage_ledger.audit.edge import Edge
from lineage_ledger.audit.facts import ChainFacts, Counts, ProducerFacts
from lineage_ledger.audit.state import AdminKey, AuditState, BlockFacts, LedgerKeyFacts, RulesState
from lineage_ledger.cli.keygen import RegistrationRequest
from lineage_ledger.formats import packed
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey, encode_signing_key
from lineage_ledger.formats.note import Note
from lineage_ledger.formats.witness_protocol import AddCheckpoint
from lineage_ledger.v1 import entries_pb2, entry_pb2, proofs_pb2
from lineage_ledger_server.services import pages
from lineage_ledger_server.services.chains import Chains
from tests.formats.entry_mutations import Tree
from tests.fuzz import examples
from tests.fuzz.targets import CORPUS, MESSAGES, TARGETS
from tests.index.served_log import ServedLog
from tests.trace.graphs import demo

_SMALL_BYTES = 700


@cache
def corpus() -> dict[str, dict[str, bytes]]:
    """Seeds by target and name."""
    signed = examples.CHECKPOINT.sign(examples.SIGNER)
    cosigned = Note(
        examples.CHECKPOINT.encode(), (examples.SIGNER.sign(examples.CHECKPOINT.encode()), examples.COSIGNATURE)
    ).encode()
    proof = examples.PROOF["proof"].encode()
    receipt = examples.RECEIPTS["accepted"][0]["receipt"].encode()
    entries = dict(_entries())
    some = [entry for name, entry in entries.items() if name in {"prediction-0", "seal-0", "block-0"}]
    files: dict[str, dict[str, bytes]] = {name: {} for name in TARGETS}
    files["entry"] = {**entries, **dict(_refused_entries())}
    files["message"] = dict(_messages(entries))
    files["packed"] = {
        "empty": b"",
        "batch": packed.pack(some),
        "predictions": packed.pack([entries["prediction-0"], entries["prediction-1"]] * 3),
        "cut-off": packed.pack(some)[:-1],
    }
    files["seal"] = {f"seal-{place}": entry for place, entry in enumerate(examples.SEALS)}
    files["seal"]["block"] = entries["block-0"]
    files["note"] = {"signed": signed, "cosigned": cosigned, "no-signature": signed.partition(b"\n\n")[0] + b"\n\n"}
    files["checkpoint"] = {"full": examples.CHECKPOINT.encode().encode(), "extension": b"a\n1\nAA==\nmore\n"}
    files["tlog_proof"] = {"good": proof, "cut-off": proof.partition(b"\n\n")[0]}
    files["receipt"] = {"good": receipt, "cut-off": receipt.partition(b"\n\n")[0][:200]}
    files["chain_receipt"] = {"good": _chain_receipt(), "prediction": receipt[:300]}
    files["tile_path"] = _texts("tile/0/x001/x234/067.p/8", "tile/entries/000", "tile/7/999", "tile/64/000", "tile/0/1")
    ids = examples.vectors("prediction-ids/prediction-ids.json")
    files["prediction_id"] = _texts(*(case["text"] for case in (*ids["accepted"][:3], *ids["refused"][:6])))
    files["digest"] = _texts("crc32:00000000", "sampled:md5:" + 32 * "a", f"sha256:{64 * '0'}", "sha1:AA", "sha256:")
    files["verifier_key"] = _texts(str(examples.VERIFIER), str(examples.WITNESS), "a+00000000+AA==")
    files["signing_key"] = _texts(encode_signing_key("a/b", SigningKey.from_seed(bytes(32))), "PRIVATE+KEY+a+0+AA==")
    files["checkpoint_file"] = {"signed": signed, "cut-off": signed[:-1]}
    files["spooled_batch"] = {"good": packed.pack(some[:1] + examples.SEALS[:1]), "no-seal": packed.pack(some[:1])}
    asked = RegistrationRequest.of_key("model-server", examples.PRODUCER, examples.ORIGIN)
    files["registration_request"] = _texts(str(asked), f"{asked}\n", str(asked)[:-4])
    request = entries_pb2.FindPredictionsRequest()
    files["page_token"] = _texts(pages.encode_token(request, (1, 2)), pages.encode_token(request, (1,)), "=", "")
    key = f'verifier_key = "{examples.VERIFIER}"'
    files["settings"] = _texts(
        f'server = "localhost:7461"\n{key}\nkey_file = "a.key"\nlinger_ms = 5\nfail_closed = true\nspool = "s"\n'
        f'deployment = "{64 * "0"}"\n[find]\nlimit = 1\n',
        f'server = "http://x"\n{key}\nkey_file = 1\n',
        "a = [[[[1979-05-27T07:32:00Z, { b = 'c', d.e = 0x10 }]]]]",
    )
    hashes = (bytes(32), bytes(range(32)))
    files["witness_request"] = {
        "first": AddCheckpoint(0, (), signed).encode(),
        "later": AddCheckpoint(256, hashes, signed).encode(),
        "cut-off": AddCheckpoint(256, hashes, signed).encode()[:60],
    }
    files["witness_answer"] = {
        "size": b"70000\n",
        "cosignature": examples.COSIGNATURE.encode().encode(),
        "other-line": examples.SIGNER.sign(examples.CHECKPOINT.encode()).encode().encode(),
    }
    files["witness_policy"] = _texts(
        f"# of two\nlog {examples.VERIFIER} https://example.com/log\nwitness one {examples.WITNESS} https://example.com\n"
        "group all-of all one\nquorum all-of\n",
        "quorum none\n",
        "group a 2 b\n",
    )
    files["audit_state"] = _audit_states()
    return files


def _chain_receipt() -> bytes:
    """Of the chain that the vectors' receipt is of."""
    it = demo()
    with tempfile.TemporaryDirectory() as folder:
        log = ServedLog(it.ledger, Path(folder))
        log.index()
        wanted = proofs_pb2.ChainRange(chain_id=examples.CHAIN_ID)
        receipt = Chains(log.reader, log.indexer.lookup).receipt(wanted, log.reader.head(), lambda: None)
        log.close()
    return receipt


def _entries() -> Iterator[tuple[str, bytes]]:
    for path in sorted((examples.VECTORS / "entries").glob("*.json")):
        for place, case in enumerate(examples.vectors(f"entries/{path.name}")["accepted"]):
            entry = bytes.fromhex(case["entry"])
            if len(entry) <= _SMALL_BYTES:
                yield f"{path.stem}-{place}", entry


def _messages(entries: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """One of each that is not an entry or the whole of one."""
    found: dict[str, bytes] = {}
    for name, entry in entries.items():
        if name.endswith("-0") or name.startswith("seal-"):
            for tree in Tree.parse(entry_pb2.Entry, entry).trees()[1:]:
                found.setdefault(tree.message.DESCRIPTOR.name, tree.encode())
    for name, data in found.items():
        if len(data) <= _SMALL_BYTES:
            yield name.lower(), bytes([MESSAGES.index(name)]) + data
    yield "cut-off", bytes([MESSAGES.index("SealBody")]) + found["SealBody"][:-1]


def _refused_entries() -> Iterator[tuple[str, bytes]]:
    for kind in ("prediction", "run"):
        cases = examples.vectors(f"entries/{kind}.json")["refused"]
        small = [case for case in cases if len(case["entry"]) <= 2 * _SMALL_BYTES]
        for place, case in enumerate(small[:: len(small) // 4]):
            yield f"{kind}-refused-{place}", bytes.fromhex(case["entry"])


def _texts(*texts: str) -> dict[str, bytes]:
    return {f"{place:02}": text.encode() for place, text in enumerate(texts)}


def _audit_states() -> dict[str, bytes]:
    """Of a tree of three entries, as if they said all this."""
    key, hashes = examples.SIGNER.key.public_key, bytes(range(96))
    edge = Edge(3, (hashes,))
    signed = Checkpoint(examples.ORIGIN, 3, edge.root()).sign(examples.SIGNER)
    chains = [ChainFacts(bytes([place] * 16), key, place, 1, 2, hashes[:32], 4, 5) for place in range(2)]
    rules = RulesState(
        Counts(entries=3),
        BlockFacts(1, 2, 9, hashes[:32]),
        (AdminKey(key),),
        (LedgerKeyFacts(0, key),),
        (ProducerFacts(key, 1),),
        tuple(chains),
    )
    state = AuditState(signed, edge, rules).encode()
    return {"good": state, "cut-off": state[:-100]}


def main() -> None:
    for target, files in corpus().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith("found-"):
                path.unlink()
        for name, data in files.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
