"""The suite's second run of what failed: it forgives a race, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "tests.py"
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--strict-markers"]
markers = ["long: left out"]
"""
RACE = """
from pathlib import Path
def test_race():
    seen = Path(__file__).parent / "seen"
    first = not seen.exists()
    seen.touch()
    assert not first
"""
PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
CLEARS_BADLY = """
import pytest
@pytest.fixture
def thing():
    yield
    assert False
def test_thing(thing): pass
"""
MANY = """
import pytest
from pathlib import Path
@pytest.mark.parametrize("number", range(6))
def test_many(number):
    seen = Path(__file__).parent / f"seen-{number}"
    first = not seen.exists()
    seen.touch()
    assert not first
"""


def run(root: Path, *files: str) -> subprocess.CompletedProcess[str]:
    (root / "tools").mkdir()
    shutil.copy(SCRIPT, root / "tools")
    (root / "pyproject.toml").write_text(SETTINGS)
    (root / "tests").mkdir()
    for number, text in enumerate(files):
        (root / "tests" / f"test_{number}.py").write_text(text)
    command = [sys.executable, str(root / "tools" / "tests.py"), "0"]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **alone},
    )


def test_what_passes_passes(tmp_path: Path) -> None:
    ran = run(tmp_path, PASSES, PASSES)
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
    assert "once more" not in ran.stdout


def test_a_race_is_named_and_forgiven(tmp_path: Path) -> None:
    ran = run(tmp_path, PASSES, RACE)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.rstrip().endswith("tests.test_1::test_race")


@pytest.mark.parametrize(
    "files",
    [(PASSES, FAILS), (RACE, FAILS), (CLEARS_BADLY,), (MANY,), (PASSES, "def broken(:"), ()],
    ids=["always", "one-of-two", "clearing", "many", "unreadable", "none"],
)
def test_what_is_broken_fails(tmp_path: Path, files: tuple[str, ...]) -> None:
    assert run(tmp_path, *files).returncode != 0
