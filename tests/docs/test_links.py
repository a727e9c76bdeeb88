"""Every relative link in the repository's documents leads somewhere, its fragment included."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
OUTSIDE = ("http://", "https://", "mailto:")


def pages() -> list[Path]:
    """The documents of the repository, tracked or new, and nothing that was built or installed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {ROOT / name for name in listed.stdout.splitlines()}
    return sorted(page for page in found if page.exists())


def links(text: str) -> list[str]:
    return LINK.findall(FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def broken(page: Path) -> list[str]:
    """The links of `page` that lead nowhere."""
    text = page.read_text()
    lost = []
    for link in links(text):
        if link.startswith(OUTSIDE):
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        known = target.exists() and (
            not fragment or (target.suffix == ".md" and fragment in anchors(target.read_text()))
        )
        if not known:
            lost.append(link)
    return lost


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_every_document_can_be_reached() -> None:
    """From README.md, over links."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for link in links(page.read_text()):
            if not link.startswith(OUTSIDE) and (path := link.partition("#")[0]):
                target = (page.parent / path).resolve()
                if target.is_dir():
                    waiting += target.glob("*.md")
                elif target.exists():
                    waiting.append(target)
    alone = {page for page in pages() if page.is_relative_to(ROOT / "docs")} - seen
    assert not alone


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A Heading: of `two` words\n\n# Twice\n\n# Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-heading-of-two-words) [c](there.md#twice-1)\n"
        "[d](https://example.org/x)\n[e](gone.md) [f](there.md#gone) [g](#gone)\n"
        "```text\n[h](gone.md)\n```\n"
    )
    assert broken(page) == ["gone.md", "there.md#gone", "#gone"]
