"""What a peer is made of. Python's own library only: processes in the peers' environments import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class NotRunError(Exception):
    """A peer cannot be had on this machine; the message is the reason that the report gives."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a peer gives for its cost, so that a table can say it beside the rate."""

    is_ledger: bool
    """Whether it means to be one: to show that what is on record was changed."""
    tamper_evidence: str
    signed: bool
    """Whether what it answers is signed, so that it can be held against whoever runs it."""
    entry_proof: str
    durability: str
    """What has happened to the bytes before the caller goes on."""
    checks: str
    """What is checked, during the runs and after them; a count after each run is, for every peer."""
    request_ids_indexed: bool
    place: str
    """Where it runs: "in process" or "server"."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of appending to a peer."""

    name: str
    batch: int
    """Entries of one call that are acknowledged together."""
    callers: int = 1
    """Threads that append at the same time, each waiting for its own answer."""
    params: Mapping[str, object] = field(default_factory=dict)
    quick: bool = True
    """Whether it is in a quick run too."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of a case did."""

    entries: int
    """Acknowledged, and found on record."""
    seconds: float

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds


Append = Callable[[Sequence[bytes]], None]
"""Puts a batch on record; returns once it is acknowledged."""


class Store(Protocol):
    """A peer's client, in a worker."""

    version: str
    """Of what was measured, as it says itself."""

    def caller(self, case: Case, /) -> AbstractContextManager[Append]:
        """A way to append for one thread, entered in that thread; a connection of its own if the peer has any."""
        ...

    def count(self) -> int:
        """Entries on record, asked of the peer."""
        ...

    def check(self) -> None:
        """Checks what is on record with the peer's own means; raises if anything is wrong."""
        ...

    def close(self) -> None:
        """Lets go of the peer."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """All that is known of a peer beforehand."""

    name: str
    title: str
    """What it is, in a few words."""
    claims: Claims
    cases: Sequence[Case]
    requirements: Sequence[str]
    """Packages of its environment, with their versions; they are in no lock file of ours."""
    serve: Callable[[Path, Path], AbstractContextManager[str]]
    """serve(environment, folder): the peer, running, with its data in `folder`; gives the address to connect to.

    Raises `NotRunError`. This and `connect` run in the worker.
    """
    connect: Callable[[str], Store]
    install: Callable[[Path], None] | None = None
    """What else an environment needs than its packages. Raises `NotRunError`."""
