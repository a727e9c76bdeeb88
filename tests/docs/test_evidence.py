"""Documents that name tests name ones that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs" / "explanation").glob("*.md")), ROOT / "SECURITY.md"]
NAMED = re.compile(r"tests/(?:\w+/)*test_\w+\.py(?:::\w+)?|tests(?:/\w+)+\b(?![/.])")
"""Tests, files of tests and folders; `tests/faults/disk.py` is none."""
RUST = re.compile(r"(crates/[\w/-]+\.rs)::(\w+)")
"""Tests beside the code: file and function."""
SHORT = {
    "A": "tests/consensus/test_attacks.py::test_attack_is_refused_by_name",
    "T": "tests/consensus/test_attestation.py",
    "E": "tests/consensus/test_epoch.py",
}
"""What the attack table in consensus.md abbreviates."""


def named(text: str) -> set[str]:
    """The ids, or beginnings of ids, of tests that `text` names."""
    short = {f"{SHORT['A']}[{each}]" for each in re.findall(r"\bA\[(\w+)\]", text)}
    short |= {f"{SHORT[file]}::{test}" for file, test in re.findall(r"\b([TE])::(test_\w+)", text)}
    return short | set(NAMED.findall(text))


def collected(names: set[str]) -> list[str]:
    """The ids of all tests in the files that `names` are in."""
    paths = sorted({name.partition("::")[0] for name in names})
    there = [path for path in paths if (ROOT / path).exists()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "long or not long", *there],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def missing(names: set[str], ids: list[str]) -> set[str]:
    """Those of `names` that are no id, nor its file, folder or test without a case."""
    known = set(ids)
    for each in ids:
        path, _, test = each.partition("::")
        known |= {each.partition("[")[0], path, *map(str, Path(path).parents)}
        del test
    return {name for name in names if name.rstrip("/") not in known}


def missing_in_rust(text: str) -> set[str]:
    """Tests in Rust that `text` names and that are none."""
    lost = set()
    for path, name in RUST.findall(text):
        file = ROOT / path
        code = file.read_text() if file.exists() else ""
        if not re.search(rf"#\[test\]\s+fn {name}\(\)", code):
            lost.add(f"{path}::{name}")
    return lost


def test_every_test_in_rust_that_is_named_exists() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(RUST.findall(text)) >= 9
    assert missing_in_rust(text) == set()
    real = "crates/stoq/src/hostile/early.rs"
    planted = {f"{real}::server", f"{real}::gone", "crates/none.rs::a"}
    assert missing_in_rust(" ".join(planted)) == planted


def test_every_test_that_is_named_exists() -> None:
    names = {page.name: named(page.read_text()) for page in PAGES}
    assert len(names["threat-model.md"]) >= 60
    assert len(names["consensus.md"]) >= 40
    together = set().union(*names.values())
    assert not missing(together, collected(together))


def test_one_that_does_not_exist_is_found() -> None:
    ids = ["tests/a/test_b.py::test_c", "tests/a/test_b.py::test_d[x]"]
    good = {
        "tests/a",
        "tests/a/test_b.py",
        "tests/a/test_b.py::test_c",
        "tests/a/test_b.py::test_d",
    }
    assert missing(good | {"tests/a/test_b.py::test_d[x]"}, ids) == set()
    assert missing({"tests/a/test_b.py::test_e"}, ids) == {"tests/a/test_b.py::test_e"}
    assert missing({"tests/a/test_b.py::test_d[y]"}, ids) == {"tests/a/test_b.py::test_d[y]"}
    assert missing({"tests/z"}, ids) == {"tests/z"}


@pytest.mark.parametrize("page", ["threat-model.md", "consensus.md"])
def test_every_row_of_a_table_of_threats_names_a_test(page: str) -> None:
    text = (ROOT / "docs" / "explanation" / page).read_text()
    rows = bare = 0
    inside = False
    for line in text.splitlines():
        if line.startswith(("| threat ", "| attack ")):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            rows += 1
            bare += not named(line)
    assert rows >= 20
    assert bare == 0
