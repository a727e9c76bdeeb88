"""docs/explanation/consensus.md names tests that exist, and the figures of the class test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TEXT = (HERE.parents[1] / "docs" / "explanation" / "consensus.md").read_text()
FILES = {
    "A": "test_attacks.py",
    "T": "test_attestation.py",
    "E": "test_epoch.py",
    "tests/consensus/test_attacks.py": "test_attacks.py",
}
NAMED = [("A", name) for name in re.findall(r"\bA\[(\w+)\]", TEXT)] + re.findall(
    r"\b(T|E|tests/consensus/test_attacks\.py)::(test_\w+)", TEXT
)


def test_the_attack_table_is_read() -> None:
    assert len(NAMED) >= 40


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (HERE / FILES[file]).read_text(), re.MULTILINE)
