"""Makes the file of entries: predictions as this ledger writes them, which to all others are bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from benchmarks.peers.pool import REQUEST_ID_BYTES
from lineage_ledger.formats.prediction import encode_prediction

INPUT, OUTPUT = hashlib.sha256(b"input").digest(), hashlib.sha256(b"output").digest()
DURATION_US = 1_000
_START_TIME_UNIX_NS = 1_767_225_600_000_000_000


def write_entries(path: Path, count: int) -> int:
    """Writes so many predictions one after the other, each with a random request id; returns the bytes of each."""
    marker = bytes(range(1, REQUEST_ID_BYTES + 1))
    entry = encode_prediction(
        binding_row=1,
        request_id=marker,
        input_commitment=INPUT,
        output_commitment=OUTPUT,
        start_time_unix_ns=_START_TIME_UNIX_NS,
        duration_us=DURATION_US,
    )
    before, _, after = entry.partition(marker)
    ids = os.urandom(REQUEST_ID_BYTES * count)
    steps = range(0, len(ids), REQUEST_ID_BYTES)
    path.write_bytes(b"".join(before + ids[at : at + REQUEST_ID_BYTES] + after for at in steps))
    return len(entry)
