"""Shows that a request and its answer are the very ones that a prediction commits to.

    python code/open_commitment.py prediction.receipt request.json response.json

It needs the receipt, the bytes, the ledger's verifier key, and the commitment key of the model server. Nobody without
that key can tell from the ledger what was asked or answered, not even by guessing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lineage_ledger.formats.note import Verifier
from lineage_ledger.middleware.commitment_key import CommitmentKey
from lineage_ledger.receipts import verify_receipt


def main(receipt: str, request: str, response: str) -> None:
    verifier = Verifier.parse(Path("ledger.vkey").read_text().strip())
    verified = verify_receipt(Path(receipt).read_bytes(), verifier)
    key = CommitmentKey.read("keys/commitment.key")
    asked, answered = Path(request).read_bytes(), Path(response).read_bytes()
    opened = [
        ("input commitment", request, key.opens(verified.prediction, "input", asked)),
        ("output commitment", response, key.opens(verified.prediction, "output", answered)),
    ]
    for name, path, is_it in opened:
        print(f"{name}: {path} is {'what' if is_it else 'NOT what'} was committed to")
    changed = answered[:-2] + bytes([answered[-2] ^ 1]) + answered[-1:]  # The last digit is another one.
    is_it = key.opens(verified.prediction, "output", changed)
    print(f"output commitment: {changed.decode()} is {'what' if is_it else 'not what'} was committed to")
    sys.exit(not all(is_it for _, _, is_it in opened) or is_it)


if __name__ == "__main__":
    main(*sys.argv[1:])
