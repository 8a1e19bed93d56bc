"""What a run of `growth` has measured so far, kept beside the ledger so that a later run goes on from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, MutableSequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.bodies import Sample
from lineage_ledger.formats.prediction import PredictionId


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch that was sent without a pause."""

    size: int
    """Entries in the ledger after it."""
    entries: int
    """Predictions in it."""
    seconds: float
    """From its first batch to its last acknowledgement."""
    server_cpu_s: float
    """Of all threads of the server in that time, the indexer's included."""
    index_lag: int
    """Entries that were not indexed yet when it ended."""

    @property
    def rate(self) -> float:
        """Predictions a second."""
        return self.entries / self.seconds


@dataclass(slots=True)
class State:
    """All that is kept; `save` it after each stretch."""

    path: Path
    deployment_hash: str = ""
    """In hex; empty before the statements are in the ledger."""
    stretches: MutableSequence[Stretch] = field(default_factory=list)
    samples: MutableSequence[tuple[str, str]] = field(default_factory=list)
    """Request ids in hex with ids of predictions."""

    @classmethod
    def load(cls, path: Path) -> State:
        """What the file holds; a new state if there is none."""
        if not path.exists():
            return cls(path)
        kept = json.loads(path.read_text())
        stretches = [Stretch(**each) for each in kept["stretches"]]
        return cls(path, kept["deployment_hash"], stretches, [(one, other) for one, other in kept["samples"]])

    def save(self) -> None:
        """All or nothing, whenever the run is killed."""
        kept = {
            "deployment_hash": self.deployment_hash,
            "stretches": [asdict(each) for each in self.stretches],
            "samples": list(self.samples),
        }
        beside = self.path.with_suffix(".new")
        with beside.open("w", encoding="ascii") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    @property
    def measured(self) -> int:
        """Predictions in stretches that were measured."""
        return sum(each.entries for each in self.stretches)

    def add_samples(self, samples: MutableSequence[Sample]) -> None:
        """To be asked for at the end."""
        self.samples += [(sample.request_id.hex(), str(sample.prediction_id)) for sample in samples]

    def all_samples(self) -> Iterator[Sample]:
        """In the order of their indexes."""
        for request_id, prediction_id in self.samples:
            yield Sample(bytes.fromhex(request_id), PredictionId.parse(prediction_id))
