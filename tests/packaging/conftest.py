from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.environments import CLIENT_PROJECT, build_wheel


@pytest.fixture(scope="session")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel as a machine with what this one has would build it."""
    return build_wheel(CLIENT_PROJECT, tmp_path_factory.mktemp("client_wheel"))
