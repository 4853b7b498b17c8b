"""tick becomes a keeper that ends by itself, with the settings of serve; a time that is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Run
from .test_serve import became, settings

__all__ = ["became"]  # the fixture


@pytest.mark.parametrize(("words", "seconds"), [([], 50), (["--for", "300"], 300), (["--for", "0.5"], 0.5)])
def test_tick_is_a_keeper_with_an_end(
    run: Run, folder: Path, became: list[list[str]], words: list[str], seconds: float
) -> None:
    assert run("tick", *words, "--slots", "3").exit_code == 0
    made = settings(became)
    assert (made["tick"], made["slots"]) == (seconds, 3)
    assert (made["runtime_dir"], made["state_dir"]) == (str(folder), str(folder / "state"))


def test_serve_has_no_end(run: Run, became: list[list[str]]) -> None:
    assert run("serve").exit_code == 0
    assert settings(became).get("tick") is None


@pytest.mark.parametrize(
    "words",
    [
        *(["--for", value] for value in ("0", "-1", "nan", "inf", "soon", "")),
        ["--slots", "0"],
        ["--config", "/no/such/file"],
        ["--every", "5"],
        ["now"],
    ],
)
def test_tick_starts_nothing_with_a_wrong_setting(run: Run, became: list[list[str]], words: list[str]) -> None:
    result = run("tick", *words)
    assert (result.exit_code, became, result.stdout) == (2, [], "")
    assert result.stderr


def test_a_tick_says_how_long_it_may_last(run: Run) -> None:
    said = " ".join(run("tick", "--help").stdout.split())
    assert "50" in said and "`drain` seconds" in said and "lasts as long as both together" in said
