"""The second verifier against the vectors."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.second_verifier import merkle, notes, receipt, strict, verifier

VECTORS = Path(__file__).parents[1] / "vectors"
ENTRIES = sorted((VECTORS / "entries").glob("*.json"))
# The context of each signature, the field that holds it, and whose key made it: of the entry or of its body.
SIGNATURES = {
    "seal": [("seal", "signature", "body", "public_key")],
    "attestation": [("attestation", "signature", "body", "public_key")],
    "producer_registered": [("registration", "admin_signature", "fields", "admin_public_key")],
    "producer_retired": [("retirement", "admin_signature", "fields", "admin_public_key")],
    "producer_compromised": [("compromise", "admin_signature", "fields", "admin_public_key")],
    "removal": [("removal", "admin_signature", "fields", "admin_public_key")],
    "ledger_key": [
        ("ledger-key", "admin_signature", "fields", "admin_public_key"),
        ("ledger-key", "old_signature", "body", "old_public_key"),
        ("ledger-key", "new_signature", "body", "new_public_key"),
    ],
}


def read(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def shown(value: Any) -> Any:
    """Fields in the form that the vectors have: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [shown(element) for element in value]
    return {name: shown(inner) for name, inner in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)
def test_entries_are_decoded_and_refused_as_the_vectors_say(path: Path) -> None:
    cases = json.loads(path.read_text())
    for case in cases["accepted"]:
        data = bytes.fromhex(case["entry"])
        entry = strict.decode_entry(data)
        assert (entry.kind, merkle.leaf_hash(data).hex()) == (cases["kind"], case["leaf_hash"])
        assert shown(entry.fields) == case["fields"]
        assert shown(entry.body) == case.get("body", {})
        for what, name, holder, key in SIGNATURES.get(entry.kind, []):
            if name in entry.fields:
                signed = verifier.signed_bytes(what, cases["origin"], entry.fields["body"])
                assert notes.signature_holds(getattr(entry, holder)[key], signed, entry.fields[name])
        if entry.kind == "producer_registered":
            key_bytes = entry.body["public_key"]
            signed = verifier.signed_bytes("possession", cases["origin"], key_bytes)
            assert notes.signature_holds(key_bytes, signed, entry.fields["possession_signature"])
        if "chain_nonce" in entry.body:
            nonce, key_bytes = entry.body["chain_nonce"], entry.body["public_key"]
            assert verifier.chain_id_of(cases["origin"], key_bytes, nonce) == entry.body["chain_id"]
    for case in cases["refused"]:
        with pytest.raises(strict.RefusedError):
            pytest.fail(f"accepted: {case['name']}: {strict.decode_entry(bytes.fromhex(case['entry']))}")


def test_every_kind_has_vectors() -> None:
    assert {path.stem for path in ENTRIES} == set(strict.KINDS.values())


def test_roots() -> None:
    vectors = read("rfc6962/tree.json")
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in vectors["leaves"]]
    assert [leaf.hex() for leaf in leaves] == vectors["hashes_by_level"][0]
    assert [merkle.root_of(leaves[:size]).hex() for size in range(9)] == vectors["roots_by_size"]
    level = vectors["hashes_by_level"]
    # Leaves 1 and 6 of 8, by hand: what the walk gives up is 0, [2, 4), [4, 6) and 7.
    proof = [bytes.fromhex(node) for node in (level[0][0], level[1][1], level[1][2], level[0][7])]
    wanted = {1: leaves[1], 6: leaves[6]}
    assert merkle.multiproof_root(wanted, 8, proof).hex() == vectors["roots_by_size"][8]
    assert merkle.multiproof_root(dict(enumerate(leaves)), 8, []).hex() == vectors["roots_by_size"][8]
    for wrong in (proof[:-1], [*proof, proof[0]], []):
        with pytest.raises(ValueError, match="too"):
            merkle.multiproof_root(wanted, 8, wrong)
    for outside in ({}, {8: leaves[0]}, {-1: leaves[0]}):
        with pytest.raises(ValueError, match="wanted"):
            merkle.multiproof_root(outside, 8, proof)


def test_inclusion_and_consistency() -> None:
    for case in read("rfc6962/inclusion.json"):
        leaf, root = bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"])
        proof = [bytes.fromhex(node) for node in case["proof"]]
        assert merkle.verify_inclusion(case["index"], case["size"], leaf, proof, root) == case["valid"], case["name"]
    for case in read("rfc6962/consistency.json"):
        old, new = bytes.fromhex(case["old_root"]), bytes.fromhex(case["new_root"])
        proof = [bytes.fromhex(node) for node in case["proof"]]
        valid = merkle.verify_consistency(case["old_size"], case["new_size"], old, new, proof)
        assert valid == case["valid"], case["name"]


def test_prediction_ids() -> None:
    vectors = read("prediction-ids/prediction-ids.json")
    for case in vectors["accepted"]:
        chain_id, number, prefix = verifier.parse_prediction_id(case["text"])
        assert (chain_id.hex(), number, prefix.hex()) == (case["chain_id"], case["number"], case["input_prefix"])
        assert verifier.format_prediction_id(chain_id, number, prefix + bytes(28)) == case["text"]
    for case in vectors["refused"]:
        with pytest.raises(ValueError, match="not a prediction id"):
            verifier.parse_prediction_id(case["text"])


def test_numbers_leave_out_what_is_lost() -> None:
    seal = {"first_number": 5, "count": 4, "lost": [{"first": 5, "count": 2}, {"first": 8, "count": 1}]}
    assert verifier.batch_numbers(seal) == [7, 9, 10, 11]
    assert verifier.numbers_end(seal) == 12
    assert verifier.batch_numbers({"lost": [{"count": 3}]}) == []


def test_commitments() -> None:
    vectors = read("commitments/commitments.json")
    for case in vectors["accepted"]:
        key = verifier.commitment_key(bytes.fromhex(case["period_key"]), case["role"], bytes.fromhex(case["counter"]))
        assert key.hex() == case["key"]
        assert verifier.commitment(key, bytes.fromhex(case["value"])).hex() == case["commitment"]
    for case in vectors["refused"]:
        with pytest.raises(ValueError, match="16 bytes"):
            verifier.commitment(bytes.fromhex(case["key"]), bytes.fromhex(case["value"]))


def test_manifests() -> None:
    vectors = read("digests/manifests.json")
    for case in vectors["manifests"]:
        digests = {path: sha256(content.encode()).digest() for path, content in case["files"].items()}
        manifest = verifier.manifest_of(digests)
        assert (manifest.decode(), sha256(manifest).hexdigest()) == (case["manifest"], case["sha256"])
    for path in vectors["refused_paths"]:
        with pytest.raises(ValueError, match="no path"):
            verifier.manifest_of({path: bytes(32)})


def test_signatures() -> None:
    for case in read("ed25519/rfc8032.json"):
        key, message, signature = (bytes.fromhex(case[name]) for name in ("public_key", "message", "signature"))
        assert notes.key_is_sound(key) and notes.signature_holds(key, message, signature)
        assert not notes.signature_holds(key, message + b".", signature)
    for case in read("ed25519/edge_cases.json"):
        key, signature, flags = bytes.fromhex(case["public_key"]), bytes.fromhex(case["signature"]), set(case["flags"])
        assert notes.key_is_sound(key) == (not flags & {"low_order_A", "low_order_component_A", "non_canonical_A"})
        refused = {"low_order_A", "low_order_R", "low_order_residue", "non_canonical_A", "non_canonical_R"} & flags
        assert notes.signature_holds(key, case["message"].encode(), signature) == (not refused)


def test_signed_notes() -> None:
    vectors = read("signed-note/notes.json")
    for case in vectors["signing"]:
        assert notes.open_note(case["note"].encode(), [notes.parse_vkey(case["vkey"])]) == (
            case["text"],
            [case["name"]],
        )
    for vkey in vectors["refused_vkeys"]:
        with pytest.raises(notes.NoteError):
            notes.parse_vkey(vkey)
    for case in vectors["notes"]:
        keys = [notes.parse_vkey(vkey) for vkey in case["vkeys"]]
        if case["opens"]:
            assert notes.open_note(case["note"].encode(), keys)[1] == case["verified"]
        else:
            with pytest.raises(notes.NoteError):
                pytest.fail(f"opens: {case['name']}: {notes.open_note(case['note'].encode(), keys)}")
    cosigned = vectors["cosigned"]
    parsed = notes.parse_checkpoint_text(cosigned["note"].partition("\n\n")[0] + "\n")
    assert (parsed.origin, parsed.size) == (cosigned["origin"], cosigned["size"])


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n-1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 44 + "\n",
        "a\n1\n" + "A" * 42 + "B=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=\nan extension\n",
    ],
)
def test_refused_checkpoints(text: str) -> None:
    with pytest.raises(notes.NoteError):
        notes.parse_checkpoint_text(text)


def test_tlog_proofs() -> None:
    vectors = read("receipts/tlog-proof.json")
    key = notes.parse_vkey(vectors["verifier_key"])
    for case in vectors["accepted"]:
        assert notes.verify_tlog_proof(case["proof"].encode(), bytes.fromhex(case["entry"]), key)[0] == case["index"]
    for case in vectors["refused"]:
        with pytest.raises(notes.NoteError):
            pytest.fail(str(notes.verify_tlog_proof(case["proof"].encode(), bytes.fromhex(case["entry"]), key)))


def test_lineage_receipts() -> None:
    vectors = read("receipts/lineage.json")
    key = notes.parse_vkey(vectors["verifier_key"])
    for case in vectors["accepted"]:
        lineage = receipt.verify_lineage(case["receipt"].encode(), key)
        assert (lineage.prediction_id, lineage.entries) == (case["prediction_id"], case["entries"])
        assert {value.hex() for _, value in lineage.unresolved} == set(case["unresolved_digests"])
    for case in vectors["refused"]:
        with pytest.raises(ValueError):  # noqa: PT011
            pytest.fail(f"accepted: {case['name']}: {receipt.verify_lineage(case['receipt'].encode(), key)}")
