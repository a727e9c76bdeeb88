"""The page that checks itself, in Chromium without a network."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from hypermesh.trustchain.bundle import Bundle
from hypermesh.trustchain.bundle_page import page

from .bundles import made

WAIT_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: `python tools/setup.py browser`")
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module", params=["classic", "hybrid"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made(tmp_path_factory.mktemp("page"), request.param)


def shown(browser: Browser, directory: Path, text: str) -> tuple[str, list[str]]:
    """Whether the page holds, and the checks that do not."""
    file = directory / "bundle.html"
    file.write_text(text)
    context = browser.new_context(offline=True)
    try:
        opened = context.new_page()
        opened.goto(file.as_uri())
        opened.wait_for_selector("body[data-done]", timeout=WAIT_MS)
        verdict = opened.evaluate("document.body.dataset.done")
        return verdict, opened.locator("li.bad").all_text_contents()
    finally:
        context.close()


def test_a_page_holds(browser: Browser, bundle: Bundle, tmp_path: Path) -> None:
    text = page(bundle)
    assert "http://" not in text
    assert "https://" not in text
    assert shown(browser, tmp_path, text) == ("holds", [])


def test_an_altered_page_says_so(browser: Browser, bundle: Bundle, tmp_path: Path) -> None:
    whole = json.loads(bundle.encoded())

    def flipped(data: str, at: int) -> str:
        raw = bytearray(base64.b64decode(data))
        raw[at] ^= 1
        return base64.b64encode(raw).decode()

    altered = {
        "certificate": {**whole, "certificate": flipped(whole["certificate"], 40)},
        "sct": {**whole, "sct": flipped(whole["sct"], -3)},
        "leaf": {**whole, "leaf": flipped(whole["leaf"], 60)},
        "index": {**whole, "index": whole["index"] - 1},
        "path": {**whole, "path": [flipped(whole["path"][0], 3), *whole["path"][1:]]},
        "size": {**whole, "checkpoint": whole["checkpoint"].replace("\n5\n", "\n6\n", 1)},
        "key": {**whole, "log": {**whole["log"], "ed25519": flipped(whole["log"]["ed25519"], 3)}},
    }
    begin = '<script type="application/json" id="bundle">'
    head, _, rest = page(bundle).partition(begin)
    tail = rest[rest.index("</script>") :]
    for what, document in altered.items():
        verdict, wrong = shown(browser, tmp_path, head + begin + json.dumps(document) + tail)
        assert verdict == "refused", what
        assert wrong, what
