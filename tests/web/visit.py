"""A page in a browser, watched for whatever should not happen there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page
from tests.node.network import Node, eventually

WEB = Path(__file__).resolve().parents[2] / "web"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WAIT_MS = 20_000
STOPS_MAX = 80

AXE = """async (rules) => {
  const found = await axe.run(document, { runOnly: rules });
  return found.violations.flatMap((rule) =>
    rule.nodes.map((node) => `${rule.id} at ${node.target.join(" ")}: ${node.failureSummary}`));
}"""
FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const label = element.labels?.[0]?.innerText ?? element.getAttribute("aria-label");
  const box = element.getBoundingClientRect();
  return {
    tag: element.tagName.toLowerCase(),
    words: (label ?? element.innerText ?? "").trim(),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    in_dialog: element.closest("dialog") !== null,
    on_screen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


def api(node: Node) -> str:
    """Where the node's loopback listener is."""
    return str(node.ask(lambda mesh: mesh.network.status()).api)


def token(node: Node) -> str:
    return (node.data / "api-token").read_text()


@dataclass
class Visit:
    """One tab. `faults` are messages of the console, failed scripts and requests elsewhere."""

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.origin, "blob:")):
            self.faults.append(f"elsewhere: {url}")

    def enter(self, node: Node, place: str = "/") -> Visit:
        """Open the page as `hm ui` does."""
        self.page.goto(f"{self.origin}/#token={token(node)}&open={place}")
        return self.settled()

    def look(self, place: str = "/") -> Visit:
        """Open the page without a token."""
        self.page.goto(f"{self.origin}/#{place}")
        return self.settled()

    def go(self, place: str) -> Visit:
        self.page.evaluate("place => { location.hash = place }", place)
        return self.settled()

    def settled(self) -> Visit:
        """Wait until the page is live and nothing of it loads."""
        self.wait_until(
            "document.documentElement.dataset.feed === 'live'"
            " && document.querySelector('h1') !== null && !document.querySelector('.loading')"
        )
        return self

    def wait_until(self, condition: str) -> None:
        """Polled from here: the page's policy lets no string be evaluated inside it."""
        eventually(lambda: bool(self.page.evaluate(condition)), condition)

    def violations(self) -> list[str]:
        """What axe finds."""
        self.page.evaluate((WEB / "node_modules/axe-core/axe.min.js").read_text())
        found: list[str] = self.page.evaluate(AXE, RULES)
        return found

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    @property
    def focused(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(FOCUSED)
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tab_to(self, words: str, tag: str = "") -> None:
        """Press Tab until what has the focus says `words`; each stop must show that it has it."""
        passed = []
        for _ in range(STOPS_MAX):
            self.press("Tab")
            now = self.focused
            if now["tag"] == "body":
                continue  # the browser's own controls, between the last stop and the first
            assert now["outlined"], f"no focus to be seen on {now}"
            assert now["on_screen"], f"the focus is out of sight: {now}"
            if now["words"].startswith(words) and tag in ("", now["tag"]):
                return
            passed.append(now["words"][:30])
        raise AssertionError(f"no way by Tab to {words!r}; passed {json.dumps(passed)}")

    def wait_for_text(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=WAIT_MS)


@contextmanager
def visiting(
    browser: Browser, node: Node, *, theme: str = "light", width: int = 1440, height: int = 900
) -> Iterator[Visit]:
    """A fresh tab on the page of `node`; without animation, so that colours stand still."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    try:
        origin = api(node)
        assert urlsplit(origin).hostname == "localhost"
        visit = Visit(context.new_page(), origin)
        visit.watch()
        yield visit
    finally:
        context.close()
