"""A fuzzer that finds something says so, and leaves a file that shows it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import TARGETS, Target


def _crashes_on_zero(data: bytes) -> bool:
    assert b"\0" not in data, "a byte that this parser does not like"
    return False


def test_what_crashes_a_target_is_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "note", Target(_crashes_on_zero))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run.fuzz_one("note", 20.0, guided=False)
    (file,) = (tmp_path / run.FOUND / "note").glob("crash-*")
    assert str(file.relative_to(tmp_path)) in capsys.readouterr().err
    assert b"\0" in file.read_bytes()
    with pytest.raises(AssertionError, match="does not like"):
        run.run_again("note", file)


@pytest.mark.parametrize(("version", "status"), [((3, 11), 1), ((3, 14), 0)])
def test_in_ci_nothing_is_skipped_where_atheris_can_be_had(
    version: tuple[int, int], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.version_info", version)
    assert run.lesser_engine() == status
    assert "NOT GUIDED" in capsys.readouterr().err
