"""What is to be reached, on two cores that client and server share, and which figure says whether it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.report import Result, number

_SMALL = range(80, 130)
"""Bytes of a prediction with a request id, as 103 or so."""
_LARGE = range(290, 320)
_AT_100_MILLION = {"size": range(100_000_000, 1 << 40)}


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table."""

    what: str
    benchmark: str
    name: str
    """Regular expression for all of the result's name."""
    value: float
    unit: str
    at_most: bool = False
    """Less is better."""
    scale: float = 1.0
    """Of the result's unit in that of the target."""
    params: Mapping[str, object] = field(default_factory=dict)
    """What the result's must be; a range holds what is in it."""

    @property
    def text(self) -> str:
        """For people."""
        return f"{'at most' if self.at_most else 'at least'} {number(self.value)} {self.unit}".rstrip()

    def find(self, results: Sequence[Result]) -> Result | None:
        """The one result that the target is about; the first, if there are more."""
        return next((each for each in results if self._is_about(each)), None)

    def ratio(self, value: float) -> float:
        """How far it is reached: 1 or more is what was aimed at."""
        reached, aimed = (self.value, value) if self.at_most else (value, self.value)
        return reached / aimed if aimed > 0 else float("inf")

    def _is_about(self, result: Result) -> bool:
        return re.fullmatch(self.name, result.name) is not None and all(
            _fits(result.params.get(name), wanted) for name, wanted in self.params.items()
        )


def _fits(value: object, wanted: object) -> bool:
    return value in wanted if isinstance(wanted, range) else value == wanted


def _append(what: str, value: float, **params: object) -> Target:
    params = {"streams": 1, "entry_bytes": _SMALL, "kernel": "c", **params}
    return Target(what, "append", "append.*", value, "entries/s", params=params)


TARGETS = (
    _append("sealed batches of 4,096, one stream, request ids indexed", 1_000_000, batch=4_096),
    Target("the same, of the ceiling", "ceiling", "append, of the ceiling", 0.75, ""),
    _append("batches of 512", 700_000, batch=512),
    _append("batches of 64", 250_000, batch=64),
    _append("300-byte entries, batches of 4,096", 800_000, batch=4_096, entry_bytes=_LARGE),
    Target("from `emit()` in one Python process to acknowledged", "emit", "emit to acknowledged, one thread", 700_000,
           "predictions/s"),
    _append("no compiler, batches of 4,096", 400_000, batch=4_096, kernel="python"),
    Target("`emit()` on the calling thread, ready commitments, median", "emit",
           "emit, calling thread, median call of a serving loop", 350, "ns", at_most=True),
    Target("rise of the p99.9 of a 35 µs serving loop", "emit",
           "serving loop of 35 us, p99.9, rise by an emitter", 0.3, "ms", at_most=True),
    Target("one prediction with `flush`, idle ledger, p50", "latency", r"emit \+ flush, idle ledger, p50", 1.5, "ms",
           at_most=True),
    Target("one prediction with `flush`, idle ledger, p99", "latency", r"emit \+ flush, idle ledger, p99", 6, "ms",
           at_most=True),
    Target("30 streams, one entry a batch, each acknowledgement proven and verified", "latency",
           "30 streams, one entry a batch, proven", 4_000, "entries/s"),
    Target("rate at 100 million entries, of the first million's", "growth", "rate, 100 million / first million", 0.9,
           ""),
    Target("lookup by request id at 100 million, in the server, p50", "growth",
           "lookup by request id, in the server, p50", 1, "ms", at_most=True, params=_AT_100_MILLION),
    Target("lineage receipt at 100 million, in the server, p50", "growth", "lineage receipt, in the server, p50", 2,
           "ms", at_most=True, params=_AT_100_MILLION),
    Target("audit, as many processes as CPUs", "audit", "audit, large batches, [2-9]+ processes", 2_000_000,
           "entries/s"),
    Target("on disk for a 103-byte prediction, everything included", "growth",
           "on disk, everything / bytes of the entry", 1.55, "times its bytes", at_most=True),
)  # fmt: skip
