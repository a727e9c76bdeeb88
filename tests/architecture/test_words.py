"""ARCHITECTURE.md tells the truth about where things are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
WORDS = dict(re.findall(r"^\| `(\w+)` \| `(hypermesh[\w.]+)` \|$", TEXT, re.MULTILINE))
ABSENT = re.findall(r"`(\w+)`", TEXT.partition("Not there yet")[2])


def test_the_table_is_read() -> None:
    assert len(WORDS) >= 15
    assert len(ABSENT) == 9


@pytest.mark.parametrize("word", WORDS)
def test_a_known_word_lives_where_the_table_says(word: str) -> None:
    found = getattr(importlib.import_module(WORDS[word]), word)
    assert found.__module__ == WORDS[word]


@pytest.mark.parametrize("word", ABSENT)
def test_what_is_not_there_has_no_empty_shell(word: str) -> None:
    definition = re.compile(rf"^class {word}\b", re.MULTILINE)
    for file in (ROOT / "src").rglob("*.py"):
        assert not definition.search(file.read_text()), file


def test_every_place_named_in_the_life_of_an_operation_exists() -> None:
    life = TEXT.partition("## The life of one operation")[2].partition("## Where")[0]
    places = re.findall(r"`((?:node|assets|ledger|consensus|caesar|crates)/[\w/-]+)`", life)
    assert places
    for place in places:
        base = ROOT if place.startswith("crates/") else ROOT / "src" / "hypermesh"
        target = base / place
        assert target.exists() or target.with_suffix(".py").exists(), place
