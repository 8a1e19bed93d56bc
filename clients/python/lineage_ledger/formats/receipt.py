"""The lineage receipt: one text file that proves a prediction with all it came from, offline.

    lineage-ledger/receipt/v1
    prediction <prediction id>
    entry <index> <base64 of the entry>             one line each, ascending by index
    batch <seal index> <base64 hash> ...            one line each, ascending by seal index
    tree <base64 hash> ...                          one line
                                                    (empty line)
    <checkpoint: the signed note, verbatim>

Lines end with "\\n"; between their parts is one space, and none at the end of a line. Numbers are decimal without
leading zeros, base64 is standard and padded; so content has exactly one encoding, and a reader refuses any other. At
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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal

HEADER: Final = "lineage-ledger/receipt/v1"
MAX_RECEIPT_BYTES: Final = 4 * 1024 * 1024
MAX_RECEIPT_ENTRIES: Final = 4_096


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
        lines = [HEADER, f"prediction {self.prediction_id}"]
        lines += [f"entry {index} {encode_base64(entry)}" for index, entry in sorted(self.entries.items())]
        lines += [" ".join((f"batch {index}", *_encoded(hashes))) for index, hashes in sorted(self.batches.items())]
        lines += [" ".join(("tree", *_encoded(self.tree)))]
        data = "\n".join(lines).encode("ascii") + b"\n\n" + self.checkpoint
        if len(data) > MAX_RECEIPT_BYTES or len(self.entries) > MAX_RECEIPT_ENTRIES:
            raise MalformedError(
                f"a receipt of {len(self.entries)} entries and {len(data):,} bytes; "
                f"it may have {MAX_RECEIPT_ENTRIES:,} and {MAX_RECEIPT_BYTES:,}"
            )
        return data

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read a receipt's file. Raises `MalformedError` for anything but the one encoding of what it says."""
        if len(data) > MAX_RECEIPT_BYTES:
            raise MalformedError(f"a receipt has at most {MAX_RECEIPT_BYTES:,} bytes, this has {len(data):,}")
        head, separator, checkpoint = data.partition(b"\n\n")
        if not separator:
            raise MalformedError("the receipt has no empty line before its checkpoint; it is cut off")
        try:
            lines = iter(head.decode("ascii").split("\n"))
        except UnicodeDecodeError as error:
            raise MalformedError(f"the receipt has a byte that is not ASCII before its checkpoint: {error}") from None
        if next(lines) != HEADER:
            raise MalformedError(f"the file does not begin with the line {HEADER!r}; it is no lineage receipt")
        receipt = cls._parse_lines(lines, checkpoint)
        if receipt.encode() != data:
            raise MalformedError("the receipt is in another encoding than the one accepted: order or line ends differ")
        return receipt

    @classmethod
    def _parse_lines(cls, lines: Iterator[str], checkpoint: bytes) -> Receipt:
        prediction_id: PredictionId | None = None
        entries: dict[int, bytes] = {}
        batches: dict[int, tuple[bytes, ...]] = {}
        tree: tuple[bytes, ...] | None = None
        for number, line in enumerate(lines, 2):
            word, *parts = line.split(" ")
            if word == "entry" and len(parts) == 2 and len(entries) < MAX_RECEIPT_ENTRIES:
                entries[parse_decimal(parts[0])] = decode_base64(parts[1])
            elif word == "batch" and parts:
                batches[parse_decimal(parts[0])] = _decoded(parts[1:])
            elif word == "tree" and tree is None:
                tree = _decoded(parts)
            elif word == "prediction" and len(parts) == 1 and prediction_id is None:
                prediction_id = PredictionId.parse(parts[0])
            else:
                raise MalformedError(f"line {number} of the receipt is of no known form or one too many: {line[:64]!r}")
        if prediction_id is None or tree is None:
            raise MalformedError("the receipt has no line 'prediction' or no line 'tree'")
        return cls(prediction_id, entries, batches, tree, checkpoint)


def _encoded(hashes: Iterable[bytes]) -> Iterator[str]:
    return map(encode_base64, hashes)


def _decoded(parts: Iterable[str]) -> tuple[bytes, ...]:
    hashes = tuple(map(decode_base64, parts))
    if any(len(value) != HASH_SIZE for value in hashes):
        raise MalformedError(f"a hash in the receipt is not of {HASH_SIZE} bytes")
    return hashes
