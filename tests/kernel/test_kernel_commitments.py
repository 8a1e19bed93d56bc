"""HMAC-SHA256 and commitments, of every kernel, against `hmac`."""

from __future__ import annotations

import array
import hmac
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger import _emit_python
from tests.kernel.kernel_examples import outcome

KERNELS: dict[str, Any] = {"python": _emit_python}
with suppress(ImportError):  # there was no compiler when it was installed
    KERNELS["c"] = import_module("lineage_ledger._kernel_emit")

# Around the ends of one and two blocks (64 bytes, of which 9 are padding), and beyond what is hashed with the GIL held.
LENGTHS = [*range(130), 1_000, 4_095, 4_096, 4_097, 100_000]


@pytest.fixture(params=["python", "c", "c-portable"] if "c" in KERNELS else ["python"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param != "c-portable":
        yield KERNELS[request.param]
        return
    KERNELS["c"]._use_sha_instructions(False)
    yield KERNELS["c"]
    KERNELS["c"]._use_sha_instructions(True)


def _mac(key: bytes, value: bytes) -> bytes:
    return hmac.new(key, value, "sha256").digest()


@pytest.mark.parametrize("key_bytes", [0, 1, 16, 32, 63, 64, 65, 131])
def test_every_length_gives_what_hmac_gives(kernel: Any, key_bytes: int) -> None:
    source = random.Random(key_bytes)
    key, value = source.randbytes(key_bytes), source.randbytes(max(LENGTHS))
    for length in LENGTHS:
        assert kernel.hmac_sha256(key, value[:length]) == _mac(key, value[:length])


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33, 100])
def test_each_value_gets_the_key_of_its_counter(kernel: Any, count: int) -> None:
    source = random.Random(count)
    period_key, context = source.randbytes(32), source.randbytes(30)
    values = [source.randbytes(source.choice((0, 1, 32, 55, 56, 64, 119, 120, 500))) for _ in range(count)]
    counters = [source.randbytes(source.choice((1, 8, 24, 33, 34, 35, 98, 300))) for _ in range(count)]
    wanted = [_mac(_mac(period_key, context + counter), value) for counter, value in zip(counters, values)]
    assert kernel.commitments(period_key, context, counters, values, count) == b"".join(wanted)


def test_rows_are_cut_out_of_one_buffer(kernel: Any) -> None:
    values, counters = bytes(range(60)), bytes(range(100, 140))
    rows = [values[at : at + 6] for at in range(0, 60, 6)], [counters[at : at + 4] for at in range(0, 40, 4)]
    wanted = kernel.commitments(b"k" * 16, b"c", rows[1], rows[0], 10)
    for flat in (values, bytearray(values), memoryview(values).cast("B", (10, 6)), array.array("H", values)):
        assert kernel.commitments(b"k" * 16, b"c", counters, flat, 10) == wanted


@pytest.mark.parametrize(
    "arguments",
    [
        (b"k", b"c", [b"1"], [b"v", b"w"], 2),
        (b"k", b"c", [b"1", b"2"], [b"v"], 2),
        (b"k", b"c", b"123", [b"v", b"w"], 2),
        (b"k", b"c", b"1", b"", -1),
        (b"k", b"c", b"1", [], 0),
        (b"k", b"c", [b"1"], [], 0),
        (b"k", b"c", [], [b"v"], 0),
    ],
)
def test_what_does_not_fit_together_is_refused(kernel: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"not|cannot"):
        kernel.commitments(*arguments)


@pytest.mark.parametrize("wrong", [None, 3, "t", [1], [None], ["text"], memoryview(b"abcd")[::2]])
def test_what_is_no_buffer_is_refused(kernel: Any, wrong: Any) -> None:
    error = BufferError if isinstance(wrong, memoryview) else TypeError
    with pytest.raises(error):
        kernel.commitments(b"k", b"c", [b"1"], wrong, 1)
    with pytest.raises(error):
        kernel.commitments(b"k", b"c", wrong, [b"1"], 1)
    with pytest.raises(error):
        kernel.hmac_sha256(b"k", wrong)
    with pytest.raises(error):
        kernel.hmac_sha256(wrong, b"v")


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_all_kernels_agree(key: bytes, value: bytes) -> None:
    assert {outcome(kernel.hmac_sha256, key, value) for kernel in KERNELS.values()} == {_mac(key, value)}


def test_a_buffer_cannot_be_resized_while_it_is_hashed(kernel: Any) -> None:
    """Which would pull the memory from under a call that lets other threads run."""
    value = bytearray(64 << 20)
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(kernel.hmac_sha256(b"k", value)))
    thread.start()
    refused = False
    while thread.is_alive() and not refused:
        try:
            value.append(0)
            value.pop()
        except BufferError:
            refused = True
    thread.join()
    assert refused and len(results[0]) == 32
