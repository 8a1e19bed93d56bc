"""Every kernel that this machine has: Python always, C if it was built, with and without SHA instructions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.kernel.kernel_examples import KERNELS

SHA256 = {"c": 1, "c-portable": 0, "c-not-side-by-side": 2}
NAMES = ["python", *SHA256] if "c" in KERNELS else ["python"]
if os.environ.get("LINEAGE_KERNEL") == "c":  # make sanitize: of Python it can tell nothing
    NAMES.remove("python")
settings.register_profile("few", max_examples=25)


@pytest.fixture(params=NAMES)
def kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "python":
        yield KERNELS["python"]
        return
    KERNELS["c"]._use_sha_instructions(SHA256[request.param])
    yield KERNELS["c"]
    KERNELS["c"]._use_sha_instructions(1)
