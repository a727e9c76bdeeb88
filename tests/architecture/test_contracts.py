"""The import contracts hold, and they are alive: a planted breach of each is reported."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(source: Path) -> str:
    """What the linter says of the tree in `source`, under this repository's contracts."""
    done = subprocess.run(
        [str(LINTER), "--no-cache", "--no-logo", "--config", str(ROOT / "pyproject.toml")],
        cwd=source,
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "src" / "hypermesh",
        tmp_path / "hypermesh",
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    return tmp_path


def test_every_contract_is_kept(tree: Path) -> None:
    report = lint(tree)
    assert report.startswith("0\n"), report
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", report), report


BREACHES = {
    "an upward import": ("caesar/planted.py", "import hypermesh.catalog\n", "Imports go one way"),
    "siblings": ("mfn/planted.py", "import hypermesh.stoq\n", "Imports go one way"),
    "an unlisted package": ("utils/__init__.py", "", "utils"),
    "the SDK reaching inside": (
        "sdk/planted.py",
        "import hypermesh.ledger\n",
        "The SDK is a client",
    ),
    "a clock in a pure package": ("wire/planted.py", "import time\n", "are pure"),
    "rules in the kernel": (
        "ledger/kernel.py",
        "import hypermesh.ledger.identity\n",
        "The kernel imports no module",
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_planted_breach_is_reported(tree: Path, breach: str) -> None:
    place, text, expected = BREACHES[breach]
    file = tree / "hypermesh" / place
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as handle:
        handle.write(text)
    report = lint(tree)
    assert not report.startswith("0\n"), report
    assert expected in report, report
