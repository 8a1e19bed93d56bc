"""The chain receipt: one text file that proves a run of a chain's seals, and so that no number is missing, offline.

Its form is that of `receipt_text`, with the header `lineage-ledger/chain-receipt/v1` and the chain's id (32 lower-case
hex digits) as subject, without lines `batch`; at most 4 MiB.

*Entries*: the genesis, and the entries that changed the ledger's key; the registration of the chain's key, and what
ended that key; the seal that opened the chain; a run of its seals, one after the other; the first block after the last
of these; the entry that ended the chain as a conflict, and the opening seal of the first chain that names this one as
its predecessor, where there are such. Nothing else.
*Tree*: the multiproof of all entries here; it leads to the checkpoint's root.

This module knows the text only. What it proves is checked by `lineage_ledger.completeness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.receipt_text import Form, ReceiptText
from lineage_ledger.formats.seal import CHAIN_ID_BYTES

HEADER: Final = "lineage-ledger/chain-receipt/v1"
MAX_SEALS: Final = 4_096
"""In one receipt; fewer where they would not fit into 4 MiB."""
MAX_OTHER_ENTRIES: Final = 1_024
_FORM: Final = Form(HEADER, "chain", MAX_SEALS + MAX_OTHER_ENTRIES, has_batches=False)


@dataclass(frozen=True, slots=True)
class ChainReceipt:
    """What a chain receipt says; nothing of it is checked but its form."""

    chain_id: bytes
    """16 bytes."""
    entries: Mapping[int, bytes]
    """By index, ascending."""
    tree: tuple[bytes, ...]
    """Multiproof of all entries here within the checkpoint's tree."""
    checkpoint: bytes
    """Signed note."""

    def encode(self) -> bytes:
        """The file's bytes. Raises `MalformedError` if they would be more than a receipt may have."""
        return ReceiptText(self.chain_id.hex(), self.entries, {}, self.tree, self.checkpoint).encode(_FORM)

    @classmethod
    def parse(cls, data: bytes) -> ChainReceipt:
        """Read a receipt's file. Raises `MalformedError` for anything but the one encoding of what it says."""
        text = ReceiptText.parse(data, _FORM)
        try:
            chain_id = bytes.fromhex(text.subject)
        except ValueError:
            chain_id = b""
        if len(chain_id) != CHAIN_ID_BYTES or chain_id.hex() != text.subject:
            raise MalformedError(f"{text.subject[:64]!r} is not a chain's id: 32 lower-case hex digits")
        return cls(chain_id, text.entries, text.tree, text.checkpoint)
