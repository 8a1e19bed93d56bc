"""Writes `receipts/`, vectors of receipts: `python -m tests.vectors.make_receipts`.

The ledger they are of is made from seeds, so they come out the same each time; a test holds that.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lineage_ledger.formats import merkle
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.receipts import verify_receipt
from lineage_ledger_server.services.receipt import make_receipt
from tests.index.served_log import ServedLog
from tests.receipt.changes import CHANGES, FORM, PROOFS
from tests.trace.graphs import demo

if TYPE_CHECKING:
    from tests.trace.graphs import Demo

FOLDER = Path(__file__).parent / "receipts"


def files(it: Demo, good: bytes) -> dict[str, str]:
    """Content by file name, given a ledger and the receipt of its eighth prediction."""
    return {"lineage.json": _text(_lineage(it, good)), "tlog-proof.json": _text(_tlog_proofs(it))}


def _lineage(it: Demo, good: bytes) -> dict[str, object]:
    verified = verify_receipt(good, it.ledger.verifier)
    parsed = Receipt.parse(good)
    refused = {name: change(it, parsed).decode() for name, change in {**CHANGES, **PROOFS}.items()}
    refused |= {name: good.decode().replace(old, new, 1) for name, (old, new) in FORM.items()}
    refused["cut off"] = good.decode()[:-2]
    return {
        "origin": it.ledger.signer.name,
        "verifier_key": str(it.ledger.verifier),
        "accepted": [
            {
                "name": "a model trained in one run from a dataset that another run made, deployed, and attested",
                "prediction_id": str(verified.prediction_id),
                "entries": sorted(verified.entries),
                "unresolved_digests": [node.digest.value.hex() for node in verified.unresolved if node.digest],
                "receipt": good.decode(),
            }
        ],
        "refused": [{"name": name, "receipt": text} for name, text in refused.items()],
    }


def _tlog_proofs(it: Demo) -> dict[str, object]:
    ledger = it.ledger
    accepted = []
    for index in (0, it.statements["model"], ledger.size - 1):
        hashes = tuple(merkle.inclusion_proof(index, ledger.size, ledger.hashes()))
        proof = TlogProof(index, hashes, ledger.checkpoint()).encode().decode()
        accepted.append({"index": index, "entry": ledger.entries[index].hex(), "proof": proof})
    good = str(accepted[1]["proof"])
    index = it.statements["model"]
    refused = {
        "another index": good.replace(f"index {index}\n", f"index {index + 1}\n"),
        "a leading zero": good.replace(f"index {index}\n", f"index 0{index}\n"),
        "a hash too few": "\n".join(line for place, line in enumerate(good.split("\n")) if place != 2),
        "CRLF": good.replace("\n", "\r\n", 1),
        "another version": good.replace("@v1", "@v2"),
    }
    return {
        "verifier_key": str(ledger.verifier),
        "accepted": accepted,
        "refused": [{"name": n, "entry": accepted[1]["entry"], "proof": text} for n, text in refused.items()],
    }


def _text(content: dict[str, object]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    it = demo()
    with tempfile.TemporaryDirectory() as folder:
        log = ServedLog(it.ledger, Path(folder))
        log.index()
        good = make_receipt(log.reader, log.indexer.lookup, it.predictions[7])
        log.close()
    FOLDER.mkdir(exist_ok=True)
    for name, content in files(it, good).items():
        (FOLDER / name).write_text(content)


if __name__ == "__main__":
    main()
