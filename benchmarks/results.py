"""Writes RESULTS.md, with pictures, from what benchmarks printed with --json.

python -m benchmarks.results FILE_OR_FOLDER... [--to FOLDER]

The same input gives the same bytes. Each benchmark may come once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import pictures
from benchmarks.report import Result, number
from benchmarks.targets import TARGETS

_KEYS = {"benchmark", "date", "commit", "machine", "versions", "results"}
_HIDDEN = ("rate of a stretch",)  # a hundred rows that the picture shows better
_HEADER = """# Results

Written by `python -m benchmarks.results` from what the benchmarks printed; `make bench` measures anew. Every figure is
the median of its runs, with the least and the greatest beside it. Each names what was durable and what was checked when
it was taken; what all figures of a table have in common stands above it.
"""


class ResultsError(Exception):
    """A file is not what a benchmark prints; says which and why."""


@dataclass(frozen=True, slots=True)
class Document:
    """What one benchmark printed."""

    benchmark: str
    date: str
    commit: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    results: Sequence[Result]
    not_run: Sequence[Mapping[str, str]]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="FILE_OR_FOLDER", help="JSON files, or folders of them")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="folder to write to (default: this one)")
    arguments = parser.parse_args(argv)
    try:
        documents = read(arguments.paths)
    except ResultsError as error:
        raise SystemExit(f"nothing was written: {error}") from None
    write(documents, arguments.to)


def read(paths: Iterable[Path]) -> list[Document]:
    """Documents by the names of their benchmarks. Raises `ResultsError`."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    found: dict[str, Document] = {}
    for file in files:
        document = _parse(file)
        if document.benchmark in found:
            raise ResultsError(f"{file} is the second one of the benchmark {document.benchmark}")
        found[document.benchmark] = document
    if not found:
        raise ResultsError("there are no results in what was given")
    return [found[name] for name in sorted(found)]


def _parse(file: Path) -> Document:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict) or data.keys() - {"not_run"} != _KEYS:
        raise ResultsError(f"{file} is not what a benchmark prints: it should have {', '.join(sorted(_KEYS))}")
    try:
        results = [Result(**{**each, "spread": tuple(each["spread"])}) for each in data["results"]]
    except (TypeError, KeyError) as error:
        raise ResultsError(f"{file} has a result that is none: {error}") from None
    return Document(**{**data, "results": results, "not_run": data.get("not_run", [])})


def write(documents: Sequence[Document], folder: Path) -> None:
    """RESULTS.md, and the pictures that there are figures for, in `folder`; other pictures of ours are removed."""
    made = pictures.draw({each.benchmark: each.results for each in documents}, folder / "pictures")
    text = "\n".join([_HEADER, *_machines(documents), *_targets(documents), *_pictures(made), *_tables(documents)])
    (folder / "RESULTS.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def _machines(documents: Sequence[Document]) -> Iterator[str]:
    """What was measured where; each different machine once."""
    yield "## Where and when\n"
    groups: dict[str, list[Document]] = {}
    for each in documents:
        groups.setdefault(json.dumps([each.machine, each.versions, each.commit, each.date]), []).append(each)
    for group in groups.values():
        one = group[0]
        machine = one.machine
        memory = f", {machine['memory_gib']:g} GiB of memory" if "memory_gib" in machine else ""
        yield f"**{', '.join(each.benchmark for each in group)}**, on {one.date}:\n"
        yield f"- {machine['cpus']} CPUs, {machine['processor']}{memory}; {machine['system']}"
        yield f"- commit `{one.commit}`"
        yield f"- {', '.join(f'{name} {version}' for name, version in one.versions.items())}\n"


def _targets(documents: Sequence[Document]) -> Iterator[str]:
    """The table of what was to be reached, with what was."""
    yield "## What was to be reached\n"
    yield "A ratio of 1 or more is what was aimed at, whether more is better or less.\n"
    yield "| what | value | target | ratio |\n|---|---:|---:|---:|"
    by_name = {each.benchmark: each.results for each in documents}
    for target in TARGETS:
        found = target.find(by_name.get(target.benchmark, ()))
        if found is None:
            yield f"| {target.what} | not measured | {target.text} | |"
            continue
        value = found.value * target.scale
        reached = f"{number(value)} {target.unit}".rstrip()
        yield f"| {target.what} | {reached} | {target.text} | {target.ratio(value):.2f} |"
    yield ""


def _pictures(made: Sequence[pictures.Picture]) -> Iterator[str]:
    for each in made:
        yield f"![{each.caption}](pictures/{each.name}.svg)\n"


def _tables(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        results = [each for each in document.results if each.name not in _HIDDEN]
        yield f"## {document.benchmark}\n"
        common = _common(results)
        if common:
            yield f"{_listed(common)}.\n"
        if results:
            yield "| what | median | least to greatest | runs | with |\n|---|---:|---:|---:|---|"
        for each in results:
            low, high = each.spread
            spread = f"{number(low)} to {number(high)}" if each.runs > 1 else ""
            own = {name: value for name, value in each.params.items() if name not in common}
            value = f"{number(each.value)} {each.unit}".rstrip()
            yield f"| {each.name} | {value} | {spread} | {each.runs} | {_listed(own)} |"
        yield ""
        for missing in document.not_run:
            yield f"- {missing['name']} was not run: {missing['reason']}"
        if document.not_run:
            yield ""


def _common(results: Sequence[Result]) -> dict[str, object]:
    """Parameters that all results have, and with the same value."""
    if not results:
        return {}
    first, *others = results
    return {
        name: value
        for name, value in first.params.items()
        if all(name in other.params and other.params[name] == value for other in others)
    }


def _listed(params: Mapping[str, object]) -> str:
    return "; ".join(f"{name.replace('_', ' ')}: {_said(value)}" for name, value in params.items()).replace("|", "\\|")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
