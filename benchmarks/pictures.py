"""Pictures of results, as SVG: dark on a light ground of their own, so that any page may surround them.

The same results give the same bytes. Type is drawn as paths, so that it looks the same everywhere.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AROUND = 4
_PERCENTILES = ("p50", "p99", "p99.9")
# Told apart by those who do not see all colours, too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_STYLE: dict[Any, Any] = {
    "figure.facecolor": "#fdfdfb",
    "savefig.facecolor": "#fdfdfb",
    "axes.facecolor": "#fdfdfb",
    "axes.edgecolor": "#6b6b6b",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "grid.color": "#dcdcd6",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "lineage-ledger",
}

Results = Mapping[str, Sequence[Result]]
"""By the names of benchmarks."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One that was made."""

    name: str
    """Of the file, without ".svg"."""
    caption: str


def draw(results: Results, folder: Path) -> list[Picture]:
    """Each picture that there are figures for, in `folder`; one that there are none for is removed there."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, (benchmark, caption, drawn) in _PICTURES.items():
        path = folder / f"{name}.svg"
        path.unlink(missing_ok=True)
        if drawn(path, results.get(benchmark, ())):
            made.append(Picture(name, caption))
    return made


@contextmanager
def _axes(path: Path, title: str, height: float = 3.6) -> Iterator[Axes]:
    """Axes to draw on; the picture is written when that is done."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(8, height), layout="constrained")
        axes = figure.add_subplot()
        figure.suptitle(title, x=0.01, ha="left")
        yield axes
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _growth(path: Path, results: Sequence[Result]) -> bool:
    """Rate of each stretch over the ledger's size."""
    points = sorted((_number(each, "size"), each.value) for each in results if each.name == "rate of a stretch")
    if len(points) < 2:
        return False
    with _axes(path, "Predictions a second, as the ledger grows") as axes:
        sizes, rates = zip(*points, strict=True)
        millions = [size / 1e6 for size in sizes]
        axes.scatter(millions, rates, color=_COLOURS[4], s=8, label="a million predictions")
        around = [statistics.median(rates[max(0, at - _AROUND) : at + _AROUND + 1]) for at in range(len(rates))]
        axes.plot(millions, around, color=_COLOURS[0], label=f"median of {2 * _AROUND + 1} around")
        axes.axhline(0.9 * rates[0], color=_COLOURS[1], linestyle="--", linewidth=1, label="90% of the first million's")
        axes.set(xlabel="million entries in the ledger", ylim=(0, max(rates) * 1.1), xlim=(0, None))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="lower right", frameon=False, ncols=3)
    return True


def _latency(path: Path, results: Sequence[Result]) -> bool:
    """A row for each way and load, a mark for each percentile."""
    from matplotlib.ticker import LogLocator

    rows: dict[str, dict[str, float]] = {}
    for each in results:
        name, _, percentile = each.name.rpartition(", ")
        if percentile in _PERCENTILES and each.unit == "ms":
            rows.setdefault(name, {})[percentile] = each.value
    if not rows:
        return False
    with _axes(path, "Milliseconds until a prediction is on record, synced and signed", 1.4 + 0.5 * len(rows)) as axes:
        places = range(len(rows) - 1, -1, -1)
        for place, found in zip(places, rows.values(), strict=True):
            axes.plot([min(found.values()), max(found.values())], [place, place], color="#a9a9a2", zorder=1)
        for percentile, colour, marker in zip(_PERCENTILES, _COLOURS, "osD", strict=False):
            marks = [(found[percentile], place) for place, found in zip(places, rows.values()) if percentile in found]
            axes.scatter(*zip(*marks, strict=True), color=colour, marker=marker, label=percentile, zorder=2)
            beside = (0, -14) if percentile == "p99" else (0, 7)
            for value, place in marks:
                axes.annotate(f"{value:.3g}", (value, place), beside, textcoords="offset points", ha="center", size=8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_yticks(list(places), list(rows))
        axes.set_ylim(-0.6, len(rows) - 0.3)
        axes.grid(visible=False, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=3, frameon=False)
    return True


def _append(path: Path, results: Sequence[Result]) -> bool:
    """Rate over the size of batches, a line for each number of streams."""
    lines: dict[int, list[tuple[float, float]]] = {}
    usual = [each for each in results if each.unit == "entries/s" and each.params.get("kernel", "c") == "c"]
    smallest = min((_number(each, "entry_bytes") for each in usual), default=0)
    for each in usual:
        if _number(each, "entry_bytes") == smallest:
            point = (_number(each, "batch"), each.value)
            lines.setdefault(int(_number(each, "streams")), []).append(point)
    if not lines:
        return False
    with _axes(path, "Predictions a second, acknowledged, by size of batch") as axes:
        for (streams, points), colour in zip(sorted(lines.items()), _COLOURS, strict=False):
            label = f"{streams} stream{'s' if streams > 1 else ''}"
            axes.plot(*zip(*sorted(points), strict=True), color=colour, marker="o", label=label)
        sizes = sorted({size for points in lines.values() for size, _ in points})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="predictions in a batch", ylim=(0, None))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="upper left", frameon=False)
    return True


def _peers(path: Path, results: Sequence[Result]) -> bool:
    """A bar for each peer and case."""
    rated = [each for each in results if "peer" in each.params and each.unit == "entries/s"]
    if not rated:
        return False
    rated.sort(key=lambda each: (each.value, each.name))
    with _axes(path, "Predictions a second, each synced before it is acknowledged", 1.0 + 0.4 * len(rated)) as axes:
        ours = [each.params["peer"] == "lineage-ledger" for each in rated]
        values = [each.value for each in rated]
        labels = [_peer_label(each) for each in rated]
        places = range(len(rated))
        axes.barh(places, values, color=[_COLOURS[0] if own else "#9a9a94" for own in ours])
        axes.set_yticks(list(places), labels, fontsize=7)
        axes.set_xlim(0, max(values) * 1.15)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="y")
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:,.0f}", (value, place), (4, 0), textcoords="offset points", va="center", size=8)
    return True


def _peer_label(result: Result) -> str:
    """Who and how, in two short lines: one long label would leave no room for the bars."""
    who = str(result.params.get("title", result.params["peer"])).partition(",")[0]
    how = str(result.params.get("case", "")).partition(" (")[0]
    return f"{who}\n{how}"


def _number(result: Result, name: str) -> float:
    value = result.params.get(name, 0)
    return value if isinstance(value, int | float) else 0


_PICTURES: Mapping[str, tuple[str, str, Callable[[Path, Sequence[Result]], bool]]] = {
    "growth": ("growth", "Rate over the size of the ledger", _growth),
    "append": ("append", "Rate by size of batch and number of streams", _append),
    "latency": ("latency", "Percentiles of latency", _latency),
    "peers": ("peers", "Rates of this ledger and of peers", _peers),
}
