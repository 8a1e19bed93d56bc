"""What the emitter's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lineage_ledger import emit_kernel
from lineage_ledger.emitter import Backoff, Emitter, Policy
from lineage_ledger.formats.keys import SigningKey
from tests.emitter.fake_ledger import FakeLedger
from tests.emitter.kinds import KINDS

if TYPE_CHECKING:
    MakeEmitter = Callable[..., Emitter]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """For tests that are to hold whether emitting is in C or in Python: here, and in processes that they start."""
    monkeypatch.setattr(emit_kernel, "KERNEL", request.param)
    monkeypatch.setenv("LINEAGE_KERNEL", request.param)
    return str(request.param)


QUICK = Backoff(least_s=0.01, most_s=0.1, refused_s=0.05)


@pytest.fixture
def ledger() -> Iterator[FakeLedger]:
    fake = FakeLedger()
    yield fake
    fake.stop()


@pytest.fixture
def make_emitter(ledger: FakeLedger) -> Iterator[Callable[..., Emitter]]:
    made: list[Emitter] = []

    def make(
        *, spool: Path | None = None, checkpoint_file: Path | None = None, target: str | None = None, **policy: Any
    ) -> Emitter:
        options = {"backoff": QUICK, "prove": True, **policy}
        emitter = Emitter(
            target or ledger.target,
            ledger=ledger.vkey,
            key=SigningKey.generate(),
            spool=spool,
            checkpoint_file=checkpoint_file,
            policy=Policy(**options),
        )
        made.append(emitter)
        return emitter

    yield make
    for emitter in made:
        emitter.close(0.5)
