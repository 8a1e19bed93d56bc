from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.recorded_ledger import RecordedLedger, record_ledger


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the developer's variables nor a lineage.toml in the folder reach a test."""
    import os

    for name in os.environ:
        if name.startswith("LINEAGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedLedger]:
    """A running server whose ledger holds a lineage and 300 predictions."""
    ledger = record_ledger(tmp_path_factory.mktemp("recorded"))
    yield ledger
    ledger.server.close()
