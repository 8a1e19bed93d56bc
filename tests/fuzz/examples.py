"""What the corpus is made of, and what alone may be proven by mutations of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Cosigner, Signer, Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.seal import parse_seal

VECTORS: Final = Path(__file__).parents[1] / "vectors"


def vectors(path: str) -> Any:
    return json.loads((VECTORS / path).read_text())


ORIGIN: Final = vectors("entries/seal.json")["origin"]

SIGNER: Final = Signer(ORIGIN, SigningKey.from_seed(b"L" * 32))
VERIFIER: Final = SIGNER.verifier
CHECKPOINT: Final = Checkpoint(ORIGIN, 70_000, bytes(range(32)))

WITNESS_SIGNER: Final = Cosigner("witness.example.com/w1", SigningKey.from_seed(b"W" * 32))
WITNESS: Final = WITNESS_SIGNER.verifier
COSIGNATURE: Final = WITNESS_SIGNER.cosign(CHECKPOINT.encode(), 1_790_000_000)

PRODUCER: Final = SigningKey.from_seed(b"P" * 32)

SEALS: Final = [bytes.fromhex(case["entry"]) for case in vectors("entries/seal.json")["accepted"]]
SEALED_BODIES: Final = frozenset(parse_seal(entry).body_bytes for entry in SEALS)

_PROOFS: Final = vectors("receipts/tlog-proof.json")
PROOF: Final = _PROOFS["accepted"][1]
PROOF_VERIFIER: Final = Verifier.parse(_PROOFS["verifier_key"])
PROVEN_ENTRY: Final = bytes.fromhex(PROOF["entry"])
PROVEN_INDEX: Final[int] = PROOF["index"]

RECEIPTS: Final = vectors("receipts/lineage.json")
RECEIPT_VERIFIER: Final = Verifier.parse(RECEIPTS["verifier_key"])
RECEIPT_PREDICTION: Final[str] = RECEIPTS["accepted"][0]["prediction_id"]
CHAIN_ID: Final = PredictionId.parse(RECEIPT_PREDICTION).chain_id
