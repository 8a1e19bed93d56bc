"""All cases of all peers, run in turn: each round has one run of each, so that what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from benchmarks.peers.contract import Case, Claims, Ran
from benchmarks.report import Result


class Measured(Protocol):
    """What can run a case: a peer's `Handle`, or `Ours`."""

    version: str

    def run(self, case: Case, seconds: float) -> Ran: ...

    def check(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entrant:
    """One that is measured."""

    name: str
    title: str
    claims: Claims
    cases: Sequence[Case]
    measured: Measured


Rates = Mapping[tuple[str, str], Sequence[float]]
"""Entries a second of each run, by the names of peer and case."""


def run_all(entrants: Sequence[Entrant], rounds: int, seconds: float) -> Rates:
    """So many rounds, of runs of so many seconds; before them, one batch of each, which counts for nothing."""
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for entrant, case in _in_turn(entrants):
            ran = entrant.measured.run(case, seconds if number else 0.0)
            if number:
                rates.setdefault((entrant.name, case.name), []).append(ran.rate)
    for entrant in entrants:
        entrant.measured.check()
    return rates


def _in_turn(entrants: Sequence[Entrant]) -> Iterator[tuple[Entrant, Case]]:
    """The first case of each, then the second of each, and so on: like beside like."""
    for place in range(max((len(entrant.cases) for entrant in entrants), default=0)):
        for entrant in entrants:
            if place < len(entrant.cases):
                yield entrant, entrant.cases[place]


def results_of(entrants: Sequence[Entrant], rates: Rates, entry_bytes: int) -> list[Result]:
    """A figure for each case, with what the peer gives for it."""
    return [
        Result.of(
            f"{entrant.name}, {case.name}",
            "entries/s",
            rates[entrant.name, case.name],
            **params_of(entrant, case, entry_bytes),
        )
        for entrant in entrants
        for case in entrant.cases
    ]


def params_of(entrant: Entrant, case: Case, entry_bytes: int) -> dict[str, object]:
    """What a figure is of."""
    return {
        "peer": entrant.name,
        "title": entrant.title,
        "version": entrant.measured.version,
        "case": case.name,
        "entry_bytes": entry_bytes,
        "batch": case.batch,
        "streams": case.callers,
        **asdict(entrant.claims),
        **case.params,
    }
