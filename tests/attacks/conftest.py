"""The honest ledger, once for all attacks of a process; and a server of a copy of it, once for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.honest import HonestLedger, make_honest_ledger
from tests.support.server import RunningServer


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> HonestLedger:
    return make_honest_ledger(tmp_path_factory.mktemp("attacks"))


@pytest.fixture(scope="module")
def served(honest: HonestLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An honest server of the honest ledger, which attacks may append to: no test may count on its size."""
    with RunningServer(honest.copy(tmp_path_factory.mktemp("served") / "ledger")) as server:
        yield server
