"""The strict encoding: the one accepted form of an entry (proto/README.md, "Strict encoding").

Protobuf lets one message be written in many ways; a ledger of hashes must not, or the same entry would have two
hashes and one hash two meanings. The kernel decides, in C by the tables of `strict_tables`; what is wrong with an entry
is said by `strict_scanner`. Both are handed to the kernel here, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lineage_ledger import kernel
from lineage_ledger.formats import strict_tables
from lineage_ledger.formats.strict_scanner import scan_message
from lineage_ledger.v1 import entry_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

PRODUCER_KINDS: Final = frozenset(range(1, 7))
"""Tag numbers of the kinds that producers append; the rest only the ledger writes."""

_ENTRY: Final = strict_tables.PLACES["Entry"]


def check_entry(entry: bytes) -> int:
    """Check that `entry` (1 to 65,535 bytes) is strictly encoded; returns its kind's tag number, 1 to 15.

    Raises `MalformedEntryError`, whose text names the field's path and whose `offset` is the byte in the entry.
    """
    data = bytes(entry)
    kernel.check_strict(_ENTRY, data)
    return data[0] >> 3


def parse_entry(entry: bytes) -> entry_pb2.Entry:
    """The entry as a message. Raises `MalformedEntryError` unless it is strictly encoded."""
    data = bytes(entry)
    kernel.check_strict(_ENTRY, data)
    return entry_pb2.Entry.FromString(data)


def check_message(message_type: type[Message], data: bytes) -> None:
    """Check that `data` is a strictly encoded message of `entry.proto`, such as a seal's body.

    Raises `MalformedEntryError`, or `KeyError` for a type that no entry holds.
    """
    kernel.check_strict(strict_tables.PLACES[message_type.DESCRIPTOR.name], bytes(data))


def _explain(place: int, data: bytes) -> None:
    scan_message(strict_tables.NAMES[place], data)


kernel.learn_strict(strict_tables.TABLES, _explain)
