"""Every kernel that this machine has: Python always, C if it was built, with and without SHA instructions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.kernel_examples import KERNELS


@pytest.fixture(params=["python", "c", "c-portable"] if "c" in KERNELS else ["python"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param != "c-portable":
        yield KERNELS[request.param]
        return
    KERNELS["c"]._use_sha_instructions(False)
    yield KERNELS["c"]
    KERNELS["c"]._use_sha_instructions(True)
