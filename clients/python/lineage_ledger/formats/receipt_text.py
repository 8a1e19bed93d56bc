"""The text that lineage receipts and chain receipts have in common: a subject, entries, and what proves them.

    <header>
    <word> <subject>
    entry <index> <base64 of the entry>             one line each, ascending by index
    batch <seal index> <base64 hash> ...            one line each, ascending by seal index; not in every kind of receipt
    tree <base64 hash> ...                          one line
                                                    (empty line)
    <checkpoint: the signed note, verbatim>

Lines end with "\\n"; between their parts is one space, and none at the end of a line. Numbers are decimal without
leading zeros, base64 is standard and padded; so content has exactly one encoding, and a reader refuses any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.text import decode_base64, encode_base64, parse_decimal

MAX_RECEIPT_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """What tells one kind of receipt from another."""

    header: str
    """The first line."""
    word: str
    """What the second line begins with."""
    max_entries: int
    has_batches: bool


@dataclass(frozen=True, slots=True)
class ReceiptText:
    """What a receipt says; nothing of it is checked but its form."""

    subject: str
    entries: Mapping[int, bytes]
    """By index, ascending."""
    batches: Mapping[int, tuple[bytes, ...]]
    """Hashes by the index of a seal, ascending."""
    tree: tuple[bytes, ...]
    """Multiproof of all entries here within the checkpoint's tree."""
    checkpoint: bytes
    """Signed note."""

    def encode(self, form: Form) -> bytes:
        """The file's bytes. Raises `MalformedError` if they would be more than a receipt may have."""
        lines = [form.header, f"{form.word} {self.subject}"]
        lines += [f"entry {index} {encode_base64(entry)}" for index, entry in sorted(self.entries.items())]
        lines += [" ".join((f"batch {index}", *_encoded(hashes))) for index, hashes in sorted(self.batches.items())]
        lines += [" ".join(("tree", *_encoded(self.tree)))]
        data = "\n".join(lines).encode("ascii") + b"\n\n" + self.checkpoint
        if len(data) > MAX_RECEIPT_BYTES or len(self.entries) > form.max_entries:
            raise MalformedError(
                f"a receipt of {len(self.entries)} entries and {len(data):,} bytes; "
                f"it may have {form.max_entries:,} and {MAX_RECEIPT_BYTES:,}"
            )
        return data

    @classmethod
    def parse(cls, data: bytes, form: Form) -> ReceiptText:
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
        if next(lines) != form.header:
            raise MalformedError(f"the file does not begin with the line {form.header!r}; it is no such receipt")
        receipt = cls._parse_lines(lines, checkpoint, form)
        if receipt.encode(form) != data:
            raise MalformedError("the receipt is in another encoding than the one accepted: order or line ends differ")
        return receipt

    @classmethod
    def _parse_lines(cls, lines: Iterator[str], checkpoint: bytes, form: Form) -> ReceiptText:
        subject: str | None = None
        entries: dict[int, bytes] = {}
        batches: dict[int, tuple[bytes, ...]] = {}
        tree: tuple[bytes, ...] | None = None
        for number, line in enumerate(lines, 2):
            word, *parts = line.split(" ")
            if word == "entry" and len(parts) == 2 and len(entries) < form.max_entries:
                entries[parse_decimal(parts[0])] = decode_base64(parts[1])
            elif word == "batch" and parts and form.has_batches:
                batches[parse_decimal(parts[0])] = _decoded(parts[1:])
            elif word == "tree" and tree is None:
                tree = _decoded(parts)
            elif word == form.word and len(parts) == 1 and subject is None:
                subject = parts[0]
            else:
                raise MalformedError(f"line {number} of the receipt is of no known form or one too many: {line[:64]!r}")
        if subject is None or tree is None:
            raise MalformedError(f"the receipt has no line {form.word!r} or no line 'tree'")
        return cls(subject, entries, batches, tree, checkpoint)


def _encoded(hashes: Iterable[bytes]) -> Iterator[str]:
    return map(encode_base64, hashes)


def _decoded(parts: Iterable[str]) -> tuple[bytes, ...]:
    hashes = tuple(map(decode_base64, parts))
    if any(len(value) != HASH_SIZE for value in hashes):
        raise MalformedError(f"a hash in the receipt is not of {HASH_SIZE} bytes")
    return hashes
