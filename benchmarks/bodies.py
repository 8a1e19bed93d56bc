"""Packed predictions made by the million: one template, with request ids of their own written into it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, MutableSequence
from typing import NamedTuple

import numpy as np

from lineage_ledger.emitter.ring import Cut
from lineage_ledger.emitter.sealer import ChainSealer, SealedBatch
from lineage_ledger.formats.packed import frame
from lineage_ledger.formats.prediction import INPUT_PREFIX_BYTES, PredictionId, encode_prediction

REQUEST_ID_BYTES = 16
_INPUT = hashlib.sha256(b"input").digest()


class Sample(NamedTuple):
    """One prediction among many, to ask for later."""

    request_id: bytes
    """16 bytes."""
    prediction_id: PredictionId


class Bodies:
    """Packed batches of `entries` predictions each. Not for several threads.

    Request ids are random and of 16 bytes, so that no two of a hundred million are the same.
    """

    def __init__(self, entries: int) -> None:
        framed = frame(
            encode_prediction(
                binding_row=1,
                request_id=b"?" * REQUEST_ID_BYTES,
                input_commitment=_INPUT,
                output_commitment=hashlib.sha256(b"output").digest(),
                start_time_unix_ns=time.time_ns(),
                duration_us=1_000,
            )
        )
        self._at = framed.index(b"?" * REQUEST_ID_BYTES)
        self._rows = np.frombuffer(framed * entries, np.uint8).reshape(entries, len(framed)).copy()
        self._random = np.random.Generator(np.random.SFC64())
        self.entries = entries
        self.entry_bytes = len(framed) - 2

    def next(self) -> bytes:
        """The next batch's entries, packed."""
        ids = self._random.bytes(self.entries * REQUEST_ID_BYTES)
        self._rows[:, self._at : self._at + REQUEST_ID_BYTES] = np.frombuffer(ids, np.uint8).reshape(
            self.entries, REQUEST_ID_BYTES
        )
        return self._rows.tobytes()

    def request_id(self, body: bytes, row: int) -> bytes:
        """Of the entry at `row` of a batch that was made here."""
        start = row * (self.entry_bytes + 2) + self._at
        return body[start : start + REQUEST_ID_BYTES]


def sealed(
    sealer: ChainSealer, bodies: Bodies, deployment_hash: bytes, samples: MutableSequence[Sample]
) -> Iterator[SealedBatch]:
    """Batches without an end, the next ones of the sealer's chain; one prediction of each is added to `samples`."""
    while True:
        body = bodies.next()
        first = sealer.next_number
        batch = sealer.seal(Cut(first, first + bodies.entries, body, bodies.entries, []), [deployment_hash])
        row = first // bodies.entries * 31 % bodies.entries
        prediction_id = PredictionId(sealer.chain_id, first + row, _INPUT[:INPUT_PREFIX_BYTES])
        samples.append(Sample(bodies.request_id(body, row), prediction_id))
        batch.leaf_hashes = b""
        yield batch
