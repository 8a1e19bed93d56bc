"""The guide for those who verify: its commands work, its tables are those of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click

from lineage_ledger import errors
from lineage_ledger.cli.monitor import _NUMBERS, _TEXTS, monitor
from lineage_ledger.completeness import ChainState
from lineage_ledger.monitor.metrics import Metrics
from lineage_ledger.monitor.view import KINDS, Round
from tests.docs import guide

VERIFYING = (guide.DOCS / "verifying.md").read_text()


def _names(heading: str) -> list[str]:
    return [row[0].strip("`") for row in guide.tables(VERIFYING, heading)[1:]]


def test_what_the_guide_tells_to_do_works(tmp_path: Path) -> None:
    guide.run(VERIFYING, tmp_path, {})


def test_the_metrics_are_those_of_the_code() -> None:
    metrics = Metrics(["prod"])
    metrics.observe("prod", dataclasses.replace(Round(), is_witnessed=True, block_time_unix_ns=1))
    found = {family.name: family.type for family in metrics.registry.collect()}
    said = {row[0].strip("`"): row[1] for row in guide.tables(VERIFYING, "Metrics")[1:]}
    assert {name.removesuffix("_total"): kind for name, kind in said.items()} == found


def test_the_kinds_of_failures_are_those_of_the_code() -> None:
    assert {name for name in _names("Failures") if name in KINDS} == set(KINDS)


def test_the_fates_of_chains_are_those_of_the_code() -> None:
    assert _names("Completeness") == [state.value for state in ChainState]


def test_the_errors_are_those_of_the_code() -> None:
    named = {name for name in _names("A client that remembers") if name.endswith("Error")}
    assert named == {each.__name__ for each in errors.HistoryError.__subclasses__()}


def test_the_settings_of_a_watched_ledger_are_named() -> None:
    section = VERIFYING.split("## A monitor", 1)[1].split("## Failures", 1)[0]
    assert set(re.findall(r"`([a-z_]+)`", section)) >= _TEXTS | _NUMBERS


def test_the_options_that_the_guide_names_are_there() -> None:
    section = VERIFYING.split("## A monitor", 1)[1].split("## Comparing", 1)[0]
    options = {name for option in monitor.params if isinstance(option, click.Option) for name in option.opts}
    assert set(re.findall(r"--[a-z][a-z-]*", section)) <= options
