"""The lineage receipt: one text file that proves a prediction with all it came from, offline.

Its form is that of `receipt_text`, with the header `lineage-ledger/receipt/v1` and the prediction's id as subject; at
most 4 MiB and 4,096 entries.

*Entries*: the genesis; the prediction; every statement on the way from it (`lineage_ledger.trace` has the rules); for
each of these the seal that closes its batch and the registration of the key that signed it, and the entry that retired
or compromised that key if there is one; the seal that opened the prediction's chain; the block that closes the
prediction's group. Nothing else.
*Batch*: for each seal among the entries but the opening one the multiproof of its sealed entries here, by their places
in the batch; it leads to the seal's `root`. A batch whose entries are all here has no hashes.
*Tree*: the multiproof of all entries here; it leads to the checkpoint's root.

This module knows the text only. What it proves is checked by `lineage_ledger.receipts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.receipt_text import MAX_RECEIPT_BYTES, Form, ReceiptText

__all__ = ["HEADER", "MAX_RECEIPT_BYTES", "MAX_RECEIPT_ENTRIES", "Receipt"]

HEADER: Final = "lineage-ledger/receipt/v1"
MAX_RECEIPT_ENTRIES: Final = 4_096
_FORM: Final = Form(HEADER, "prediction", MAX_RECEIPT_ENTRIES, has_batches=True)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a lineage receipt says; nothing of it is checked but its form."""

    prediction_id: PredictionId
    entries: Mapping[int, bytes]
    """By index, ascending."""
    batches: Mapping[int, tuple[bytes, ...]]
    """Multiproof of the entries here within the batch, by the index of its seal, ascending."""
    tree: tuple[bytes, ...]
    """Multiproof of all entries here within the checkpoint's tree."""
    checkpoint: bytes
    """Signed note."""

    def encode(self) -> bytes:
        """The file's bytes. Raises `MalformedError` if they would be more than a receipt may have."""
        text = ReceiptText(str(self.prediction_id), self.entries, self.batches, self.tree, self.checkpoint)
        return text.encode(_FORM)

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read a receipt's file. Raises `MalformedError` for anything but the one encoding of what it says."""
        text = ReceiptText.parse(data, _FORM)
        return cls(PredictionId.parse(text.subject), text.entries, text.batches, text.tree, text.checkpoint)
