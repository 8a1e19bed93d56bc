"""RESULTS.md and its pictures: from the files in printed/, whose figures are invented."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import results
from benchmarks.report import Result
from benchmarks.targets import TARGETS, Target

PRINTED = Path(__file__).with_name("printed")


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(PRINTED, tmp_path / "printed"))


@pytest.fixture
def to(tmp_path: Path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is written of printed/."""
    folder = tmp_path_factory.mktemp("whole")
    written(PRINTED, to=folder)
    return folder


@pytest.fixture(scope="module")
def text(whole: Path) -> str:
    return (whole / "RESULTS.md").read_text()


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(file.read_text())
    how(document)
    file.write_text(json.dumps(document))


def written(*paths: Path, to: Path) -> str:
    results.main([*map(str, paths), "--to", str(to)])
    return (to / "RESULTS.md").read_text()


def test_the_same_input_gives_the_same_bytes(whole: Path, to: Path) -> None:
    written(*sorted(PRINTED.iterdir(), reverse=True), to=to)
    files = sorted(file.relative_to(whole) for file in whole.rglob("*.*"))
    assert len(files) == 5
    assert [(to / file).read_bytes() for file in files] == [(whole / file).read_bytes() for file in files]


def test_a_target_stands_beside_its_value(text: str) -> None:
    assert "| batches of 512 | 650,000 entries/s | at least 700,000 entries/s | 0.93 |" in text
    assert "| one prediction with `flush`, idle ledger, p50 | 1.2 ms | at most 1.5 ms | 1.25 |" in text


def test_what_was_not_measured_is_said(text: str) -> None:
    assert "| no compiler, batches of 4,096 | not measured |" in text
    assert "| rate at 100 million entries, of the first million's | not measured |" in text
    assert "- immudb was not run: there is no go" in text


def test_hardware_and_commit_are_said_of_each_machine(printed: Path, to: Path) -> None:
    change(printed / "growth.json", lambda document: document["machine"].update(cpus=64))
    text = written(printed, to=to)
    assert "**append, latency, peers**, on 2026-01-02" in text
    assert "**growth**, on 2026-01-02:\n\n- 64 CPUs" in text
    assert "commit `0123456789abcdef0123456789abcdef01234567`" in text


def test_every_figure_says_its_durability(text: str) -> None:
    """Above its table if it is that of all, else in its line."""
    for section in text.split("\n## ")[3:]:
        before, _, table = section.partition("\n|---")
        for line in table.splitlines()[1:]:
            assert "durability: " in before or not line.startswith("|") or "durability: " in line


@pytest.mark.parametrize("name", ["growth", "append", "latency", "peers"])
def test_a_picture_is_svg_with_a_ground_of_its_own(whole: Path, text: str, name: str) -> None:
    assert f"(pictures/{name}.svg)" in text
    root = ET.parse(whole / "pictures" / f"{name}.svg").getroot()
    ground = root.find(".//*[@id='patch_1']/{http://www.w3.org/2000/svg}path")
    assert ground is not None
    assert "fill: #fdfdfb" in ground.attrib["style"]


def test_a_picture_without_figures_goes(printed: Path, to: Path) -> None:
    written(printed, to=to)
    (printed / "growth.json").unlink()
    text = written(printed, to=to)
    assert "growth.svg" not in text
    assert not (to / "pictures" / "growth.svg").exists()
    assert (to / "pictures" / "peers.svg").exists()


def test_figures_show_in_the_picture(whole: Path, printed: Path, to: Path) -> None:
    change(printed / "growth.json", lambda document: document["results"][5].update(value=300_000))
    written(printed, to=to)
    pictures = [folder / "pictures" / "growth.svg" for folder in (whole, to)]
    assert pictures[0].read_bytes() != pictures[1].read_bytes()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "is not what a benchmark prints"),
        ('{"benchmark": "emit", "results": []}', "is not what a benchmark prints"),
    ],
)
def test_a_file_that_is_no_result_is_refused(printed: Path, to: Path, broken: str, why: str) -> None:
    (printed / "emit.json").write_text(broken)
    with pytest.raises(SystemExit, match=rf"emit\.json {why}"):
        written(printed, to=to)
    assert not (to / "RESULTS.md").exists()


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["results"][3].pop(name)


@pytest.mark.parametrize("name", ["name", "value", "unit", "spread", "runs", "params"])
def test_a_result_that_lacks_something_is_refused(printed: Path, to: Path, name: str) -> None:
    change(printed / "append.json", drop(name))
    with pytest.raises(SystemExit, match=r"append\.json has a result that is none"):
        written(printed, to=to)


def test_two_of_one_benchmark_are_refused(printed: Path, to: Path) -> None:
    shutil.copy(printed / "append.json", printed / "append-2.json")
    with pytest.raises(SystemExit, match="second one of the benchmark append"):
        written(printed, to=to)


def test_nothing_at_all_is_refused(tmp_path: Path, to: Path) -> None:
    with pytest.raises(SystemExit, match="no results"):
        written(tmp_path, to=to)


def result(name: str, value: float, **params: object) -> Result:
    return Result.of(name, "entries/s", [value], **params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("another name", {"batch": 64, "entry_bytes": 104}),
        ("append and more", {"batch": 64, "entry_bytes": 104}),
        ("append", {"batch": 512, "entry_bytes": 104}),
        ("append", {"batch": 64, "entry_bytes": 300}),
        ("append", {"entry_bytes": 104}),
        ("append", {"batch": 64, "entry_bytes": None}),
    ],
)
def test_a_target_takes_no_other_figure(name: str, params: dict[str, object]) -> None:
    target = Target("t", "append", "append", 1.0, "", params={"batch": 64, "entry_bytes": range(80, 130)})
    wanted = result("append", 2.0, batch=64, entry_bytes=104)
    assert target.find([result(name, 9.0, **params)]) is None
    assert target.find([result(name, 9.0, **params), wanted]) is wanted


def test_a_ratio_below_one_is_short_of_the_target() -> None:
    more = Target("t", "b", "n", 100.0, "")
    less = Target("t", "b", "n", 100.0, "", at_most=True)
    assert more.ratio(50.0) == 0.5
    assert less.ratio(200.0) == 0.5
    assert more.ratio(200.0) == less.ratio(50.0) == 2.0


def test_every_target_has_a_line(text: str) -> None:
    assert len({target.what for target in TARGETS}) == len(TARGETS)
    assert all(f"| {target.what} |" in text for target in TARGETS)
