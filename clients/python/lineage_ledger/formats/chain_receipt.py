"""The chain receipt: one text file that proves a run of a chain's seals, and so that no number is missing, offline.

Its form is that of `receipt_text`, with the header `lineage-ledger/chain-receipt/v1`, the chain's id (32 lower-case hex
digits), a hyphen and the sequence of the run's first seal as subject, and no lines `batch`; at most 4 MiB.

*Entries*: the genesis, and the entries that changed the ledger's key; the registration of the chain's key, and what
ended that key; the seal that opened the chain; a run of its seals, one after the other; the first block after the last
of these; the entry that ended the chain as a conflict, and the opening seal of the first chain that names this one as
its predecessor, where there are such. Nothing else.
*Tree*: the multiproof of all entries here; it leads to the checkpoint's root.

This module knows the text only. What it proves is checked by `lineage_ledger.completeness`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.receipt_text import Form, ReceiptText
from lineage_ledger.formats.text import parse_decimal

HEADER: Final = "lineage-ledger/chain-receipt/v1"
MAX_SEALS: Final = 4_096
"""In one receipt; fewer where they would not fit into 4 MiB."""
MAX_OTHER_ENTRIES: Final = 1_024
_CHAIN_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_FORM: Final = Form(HEADER, "chain", MAX_SEALS + MAX_OTHER_ENTRIES, has_batches=False)


@dataclass(frozen=True, slots=True)
class ChainReceipt:
    """What a chain receipt says; nothing of it is checked but its form."""

    chain_id: bytes
    """16 bytes."""
    first_sequence: int
    """Of the run's first seal."""
    entries: Mapping[int, bytes]
    """By index, ascending."""
    tree: tuple[bytes, ...]
    """Multiproof of all entries here within the checkpoint's tree."""
    checkpoint: bytes
    """Signed note."""

    def encode(self) -> bytes:
        """The file's bytes. Raises `MalformedError` if they would be more than a receipt may have."""
        subject = f"{self.chain_id.hex()}-{self.first_sequence}"
        return ReceiptText(subject, self.entries, {}, self.tree, self.checkpoint).encode(_FORM)

    @classmethod
    def parse(cls, data: bytes) -> ChainReceipt:
        """Read a receipt's file. Raises `MalformedError` for anything but the one encoding of what it says."""
        text = ReceiptText.parse(data, _FORM)
        chain_id, hyphen, first_sequence = text.subject.partition("-")
        if not hyphen or not _CHAIN_ID.fullmatch(chain_id):
            raise MalformedError(f"{text.subject[:64]!r} is not a chain's id (32 hex digits), a hyphen and a sequence")
        return cls(bytes.fromhex(chain_id), parse_decimal(first_sequence), text.entries, text.tree, text.checkpoint)
