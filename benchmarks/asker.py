"""A process that asks a server, one question after the other (driven by `benchmarks.driven`).

Commands: first {"samples": [[request id in hex, prediction id], ...], "size": N} says what there is to ask for, then
{"ask": KIND, "seconds": S} asks for so long, for places all over the log, and is answered with how often, and how long
it took. Every answer is verified, as clients of the ledger do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from benchmarks import driven
from benchmarks.bodies import Sample
from lineage_ledger.client import Client
from lineage_ledger.formats.prediction import PredictionId

_ENTRIES = 65_536
"""Of one stream."""


class Asker:
    """What can be asked; each question gives what it counts for: 1, or entries."""

    def __init__(self, client: Client, samples: list[Sample], size: int) -> None:
        self._client = client
        self._samples = samples
        self._size = size
        self._random = random.Random(size)
        self.kinds: Mapping[str, Callable[[], int]] = {
            "inclusion proof": self._inclusion_proof,
            "prediction receipt": self._prediction_receipt,
            "lineage receipt": self._lineage_receipt,
            "trace": self._trace,
            "find by request id": self._find,
            "stream of entries": self._entries,
        }

    def _inclusion_proof(self) -> int:
        self._client.inclusion_proof(self._random.randrange(self._size))
        return 1

    def _prediction_receipt(self) -> int:
        self._client.receipt(self._random.randrange(self._size))
        return 1

    def _lineage_receipt(self) -> int:
        self._client.receipt(self._random.choice(self._samples).prediction_id)
        return 1

    def _trace(self) -> int:
        nodes = list(self._client.trace(self._random.choice(self._samples).prediction_id))
        if len(nodes) < 7:
            raise SystemExit(f"a trace had {len(nodes)} nodes; the prediction came from more")
        return 1

    def _find(self) -> int:
        sample = self._random.choice(self._samples)
        found = [each.prediction_id for each in self._client.find_predictions(request_id=sample.request_id)]
        if found != [sample.prediction_id]:
            raise SystemExit(f"a request id led to {found}, not to {sample.prediction_id}")
        return 1

    def _entries(self) -> int:
        count = min(_ENTRIES, self._size)
        start = self._random.randrange(self._size - count + 1)
        for _ in self._client.stream_entries(start, start + count):
            pass  # verified on the way, to the last one
        return count


def main() -> None:
    """Until standard input ends."""
    told = driven.commands()
    server = driven.server_of(next(told))
    known = next(told)
    samples = [Sample(bytes.fromhex(one), PredictionId.parse(other)) for one, other in known["samples"]]
    with Client(server.address, ledger=server.verifier_key) as client:
        kinds = Asker(client, samples, known["size"]).kinds
        for kind in kinds.values():
            kind()
        driven.done()
        for command in told:
            ask = kinds[command["ask"]]
            count, times_ms = 0, []
            start_s = last_s = time.perf_counter()
            while last_s - start_s < command["seconds"]:
                count += ask()
                now_s = time.perf_counter()
                times_ms.append((now_s - last_s) * 1e3)
                last_s = now_s
            driven.done(count=count, seconds=last_s - start_s, times_ms=times_ms)


if __name__ == "__main__":
    main()
