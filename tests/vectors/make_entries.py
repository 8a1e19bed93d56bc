"""Writes tests/vectors/{entries,prediction-ids,commitments,digests}: `python -m tests.vectors.make_entries`.

The vectors are committed and change with the format alone, which is to say never in version 1; new cases are added.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats.strict import check_entry
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples
from tests.formats.entry_faults import BODIES, refused

HERE = Path(__file__).parent


def accepted(kind: str) -> Iterator[tuple[str, pb.Entry]]:
    yield "full", examples.FULL[kind]
    if kind == "prediction":
        least = pb.Prediction(binding_row=255, input_commitment=b"\xaa" * 32, start_time_unix_ns=1, status_code=16)
        yield "least: failed, without output", pb.Entry(prediction=least)
        most = examples.prediction()
        most.binding_row, most.request_id, most.status_code = 128, b"r" * 64, 1
        most.start_time_unix_ns, most.duration_us = 2**64 - 1, 2**32 - 1
        yield "most", pb.Entry(prediction=most)
    elif kind == "seal":
        yield "first of a chain", pb.Entry(seal=examples.seal(examples.first_seal_body()))
    elif kind == "artifact":
        for number in examples.ARTIFACT_KINDS:
            least_artifact = pb.Artifact(kind=number, digest=examples.sha256(1), name="x")
            yield f"least, kind {number}", pb.Entry(artifact=least_artifact)
    elif kind == "run":
        yield "least", pb.Entry(run=pb.Run(kind=pb.RUN_KIND_OTHER, name="x"))
    elif kind == "deployment":
        yield "least", pb.Entry(deployment=pb.Deployment(name="x", model=examples.sha256(1)))
    elif kind == "attestation":
        body = examples.attestation_body()
        for name in ("public_key", "predicate", "attester"):
            body.ClearField(name)
        yield "unsigned", pb.Entry(attestation=pb.Attestation(body=body.SerializeToString()))


def plain(message: Message) -> dict[str, Any]:
    """The fields that are present; bytes as hex."""

    def value(item: Any) -> Any:
        return plain(item) if isinstance(item, Message) else item.hex() if isinstance(item, bytes) else item

    return {
        field.name: value(content)
        if isinstance(content, int | str | bytes | Message)
        else [value(item) for item in content]
        for field, content in message.ListFields()
    }


def entry_vectors(kind: str) -> dict[str, Any]:
    good = []
    for name, entry in accepted(kind):
        encoded = entry.SerializeToString()
        check_entry(encoded)
        leaf_hash = hashlib.sha256(b"\0" + encoded).hexdigest()
        good.append(
            {"name": name, "entry": encoded.hex(), "leaf_hash": leaf_hash, "fields": plain(getattr(entry, kind))}
        )
        if kind in BODIES:
            good[-1]["body"] = plain(BODIES[kind].FromString(getattr(entry, kind).body))
    bad = []
    for name, encoded in refused(kind).items():
        try:
            check_entry(encoded)
        except MalformedEntryError as error:
            bad.append({"name": name, "entry": encoded.hex(), "field": str(error).partition(":")[0]})
        else:
            raise AssertionError(f"{kind}, {name}: accepted: {encoded.hex()}")
    return {"kind": kind, "origin": examples.ORIGIN, "accepted": good, "refused": bad}


def prediction_id_vectors() -> dict[str, Any]:
    chain, prefix = "00112233445566778899aabbccddeeff", "deadbeef"
    good = [(chain, number, prefix) for number in (0, 1, 10, 2**32, 2**63 - 1)] + [("0" * 32, 7, "0" * 8)]
    bad = [
        f"{chain}-{number}-{prefix}"
        for number in (
            "",
            "00",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1_0",
            "1.0",
            "1e3",
            "0x1",
            2**63,
            10**19,
            10**40,
            "\u0661",
        )
    ]
    bad += [
        f"{chain.upper()}-1-{prefix}",
        f"{chain}-1-{prefix.upper()}",
        f"{chain}-1-{prefix}\n",
        f" {chain}-1-{prefix}",
    ]
    bad += [
        f"{chain}-1",
        f"{chain}-1-{prefix}-",
        f"{chain}-1-{prefix}0",
        f"{chain}-1-{prefix[1:]}",
        f"{chain[1:]}-1-{prefix}",
    ]
    bad += [
        f"{chain}_1_{prefix}",
        f"{chain}1{prefix}",
        f"g{chain[1:]}-1-{prefix}",
        "",
        "-",
        "--",
        f"\uff10{chain[1:]}-1-{prefix}",
    ]
    return {
        "accepted": [
            {"text": f"{chain_id}-{number}-{start}", "chain_id": chain_id, "number": number, "input_prefix": start}
            for chain_id, number, start in good
        ],
        "refused": [{"text": text} for text in bad],
    }


def commitment_vectors() -> dict[str, Any]:
    period_key, vectors = bytes(range(32)), []
    for counter, role, value in (
        (bytes(8), "input", b""),
        (bytes(8), "output", b""),
        (bytes.fromhex("18d7a3f9c0de000000112233445566778899aabbccddeeff"), "input", b'{"age": 41}'),
        (b"\n", "input", bytes(range(256))),
        (b"c" * 100, "r\u00f4le", b"x" * 1_000),
    ):
        key = hmac.digest(period_key, b"lineage-ledger/nonce/v1\n" + role.encode() + b"\n" + counter, "sha256")
        vectors.append(
            {
                "period_key": period_key.hex(),
                "counter": counter.hex(),
                "role": role,
                "key": key.hex(),
                "value": value.hex(),
                "commitment": hmac.digest(key, value, "sha256").hex(),
            }
        )
    return {"accepted": vectors, "refused": [{"name": "a key of 15 bytes", "key": "00" * 15, "value": ""}]}


def digest_vectors() -> dict[str, Any]:
    folders: list[dict[str, str]] = [
        {"model.bin": "weights"},
        {"b": "2", "a": "1", "a/c": "3", "a.b": "4", "Z": "", "\u00e9": "5", "name with  spaces": "6", "-": "7"},
    ]
    vectors = []
    for files in folders:
        hashes = {path.encode(): hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
        manifest = b"".join(hashes[path].encode() + b"  " + path + b"\n" for path in sorted(hashes))
        vectors.append({"files": files, "manifest": manifest.decode(), "sha256": hashlib.sha256(manifest).hexdigest()})
    bad = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\nb", "a\\b", "a\rb", "a\0b", "p" * 1_025]
    return {"manifests": vectors, "refused_paths": bad}


def write(name: str, vectors: dict[str, Any]) -> None:
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(vectors, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def main() -> None:
    for kind in examples.FULL:
        write(f"entries/{kind}.json", entry_vectors(kind))
    write("prediction-ids/prediction-ids.json", prediction_id_vectors())
    write("commitments/commitments.json", commitment_vectors())
    write("digests/manifests.json", digest_vectors())


if __name__ == "__main__":
    main()
