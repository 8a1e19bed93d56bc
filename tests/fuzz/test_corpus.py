"""The seeds of the fuzzers, what they found before, and a first ring of mutations around them."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.make_corpus import corpus
from tests.fuzz.mutations import changed, one_byte_changes
from tests.fuzz.targets import CORPUS, TARGETS, seeds

_CHANGES_OF_A_TARGET = 2_000
_LONG_BYTES = 1 << 20
_LONGEST_S = 3.0
_FEW_BYTES = 1 << 16
# A Python object for each byte or two costs about this much.
_MEMORY_FOR_EACH_BYTE = 120

every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_seeds_are_those_that_are_made_and_are_few(name: str) -> None:
    written = {file: data for file, data in seeds(name).items() if not file.startswith("found-")}
    assert written == corpus()[name], "run python -m tests.fuzz.make_corpus"
    assert sum(map(len, seeds(name).values())) <= 16_384


def test_every_folder_of_seeds_has_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@every_target
def test_some_seeds_are_accepted_and_some_are_refused(name: str) -> None:
    outcomes = {TARGETS[name].run(data) for data in seeds(name).values()}
    assert outcomes == {True, False}, "a fuzzer that begins with these reaches one side only"


@every_target
def test_one_byte_changes_of_seeds(name: str) -> None:
    files = seeds(name)
    for data in files.values():
        for change in one_byte_changes(data, _CHANGES_OF_A_TARGET // len(files)):
            TARGETS[name].run(change)


@every_target
def test_changed_pieces_of_seeds(name: str) -> None:
    target, files = TARGETS[name], list(seeds(name).values())

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changed(files, target.max_bytes) | st.binary(max_size=64))
    def run(data: bytes) -> None:
        target.run(data)

    run()


def _long(name: str, size: int) -> list[bytes]:
    """Inputs far longer than any seed: one byte, one line or one seed over and over, behind the start of a seed."""
    files = list(seeds(name).values())
    first = max(files, key=len)
    line = first[first.find(b"\n") + 1 :].partition(b"\n")[0] + b"\n"
    pieces = [b"\n", b"\0", b"0", b" ", b"[", b"x", b"\xff", b"\0\1\x0a", line, first, first + b"\n"]
    return [head + (piece * (size // len(piece) + 1))[:size] for piece in pieces for head in (b"", first[:-1])]


@every_target
def test_long_inputs_take_little_time(name: str) -> None:
    for data in _long(name, _LONG_BYTES):
        begun = time.process_time()
        TARGETS[name].run(data)
        assert time.process_time() - begun < _LONGEST_S, data[:80]


@every_target
def test_long_inputs_take_memory_in_proportion(name: str) -> None:
    for data in _long(name, _FEW_BYTES):
        tracemalloc.start()
        try:
            TARGETS[name].run(data)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < _MEMORY_FOR_EACH_BYTE * len(data) + 1_000_000, data[:80]
