"""What benchmarks print with --json, from runs that are as small as they can be; and what they refuse."""

from __future__ import annotations

import importlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth, latency, reads
from benchmarks.results import read

FOLDER = Path(growth.__file__).parent
# All that parse arguments, in one module or a package.
BENCHMARKS = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in [*FOLDER.glob("*.py"), *FOLDER.glob("*/__main__.py")]
    if "argparse.ArgumentParser(" in path.read_text(encoding="utf-8")
)

SMALL: dict[str, Callable[[list[str]], None]] = {
    "latency": lambda argv: latency.main(
        argv, latency.Sizes(runs=1, idle_calls=10, loaded_calls=10, run_s=5.0, load_s=0.1, stream_batches=2)
    ),
    "growth": lambda argv: growth.main(
        argv, growth.Sizes(entries=6 * 4_096, stretch_batches=2, lookups=5, catch_up_s=30.0)
    ),
    "reads": lambda argv: reads.main(argv, reads.Sizes(entries=20_000, rounds=1, phase_s=0.05)),
}


def test_make_bench_runs_all_of_them() -> None:
    """But for the one that writes down what they printed."""
    makefile = (FOLDER.parent / "Makefile").read_text(encoding="utf-8")
    run = next(line for line in makefile.splitlines() if line.startswith("BENCHMARKS ?= ")).split()[2:]
    assert {*run, "results"} == {name.removesuffix(".__main__") for name in BENCHMARKS}


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("arguments", [["--nonsense"], ["--quick", "surplus", "--json", "--nonsense"]])
def test_unknown_arguments_are_refused(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("growth", ["--keep"]), ("reads", ["--readers", "0"]), ("growth", ["--entries", "many"])],
)
def test_arguments_without_sense_are_refused(module: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{module}").main(arguments)
    assert ended.value.code == 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name, as sockets in it need."""
    with tempfile.TemporaryDirectory(prefix="lb-") as name:
        yield Path(name)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_prints_one_object_of_the_documented_form(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    SMALL[name](["--json", "--data", str(folder)])
    printed = capfd.readouterr().out
    document: dict[str, Any] = json.loads(printed)  # all of it is one object, whoever else wrote there
    assert document.keys() - {"not_run"} == {"benchmark", "date", "commit", "machine", "versions", "results"}
    assert document["benchmark"] == name
    assert len(document["commit"].removesuffix("+changes")) == 40
    assert document["results"]
    for result in document["results"]:
        assert result.keys() == {"name", "value", "unit", "spread", "runs", "params"}
        low, high = result["spread"]
        assert all(map(is_number, (low, high, result["value"])))
        assert low <= result["value"] <= high
        assert result["runs"] >= 1
        assert {"entry_bytes", "batch", "streams", "durability", "checks"} <= result["params"].keys(), result["name"]
        assert "synced" in result["params"]["durability"]
    (folder / "printed.json").write_text(printed)
    assert [each.benchmark for each in read([folder / "printed.json"])] == [name]
    assert [path.name for path in folder.iterdir()] == ["printed.json"]  # it cleaned up
