"""What is shown as live is live; what is not is said."""

from __future__ import annotations

import re
import signal

from playwright.sync_api import Browser
from tests.node.network import Network, eventually

from .conftest import Scene
from .visit import WAIT_MS, visiting


def test_a_transfer_shows_up_by_itself(browser: Browser, web_network: Network) -> None:
    alice, bob = web_network.alice, web_network.bob
    owner = bob.ask(lambda mesh: mesh.accounts.get()).owner
    with visiting(browser, alice) as visit:
        visit.enter(alice, "/wallet")
        loads = []
        visit.page.on("load", lambda: loads.append(1))
        alice.ask(lambda mesh: mesh.accounts.transfer(owner, 1_000_000_007, "for the soup"))
        visit.wait_for_text("for the soup")
        visit.go("/blocks")
        visit.wait_for_text("1.000000007")
        assert loads == []
        assert visit.faults == []


def test_a_pause_holds_the_ledger_still(browser: Browser, web_network: Network) -> None:
    alice, bob = web_network.alice, web_network.bob
    owner = bob.ask(lambda mesh: mesh.accounts.get()).owner
    with visiting(browser, alice) as visit:
        visit.enter(alice, "/blocks")
        visit.page.get_by_role("button", name="Pause").click()
        first = visit.page.get_by_role("list", name="Blocks").get_by_role("link").first
        before = first.inner_text()
        alice.ask(lambda mesh: mesh.accounts.transfer(owner, 5))
        visit.wait_for_text("new block")
        assert first.inner_text() == before
        visit.page.get_by_role("button", name="Go on").click()
        eventually(lambda: first.inner_text() != before, "the newest block is on top")


def test_remote_memory_has_its_microseconds(
    browser: Browser, web_network: Network, scene: Scene
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, f"/leases/{scene.lease}")
        visit.page.locator(".chart canvas").first.wait_for(timeout=WAIT_MS)
        assert visit.page.locator(".chart canvas").count() == 2
        table = visit.page.get_by_role("region", name="Remote memory, as it is now")
        visit.wait_for_text("measured by the consumer")
        assert re.search(r"\d (µs|ms)\n99 %: .*\n[\d.]+ GB/s", table.inner_text())
        moved = table.inner_text()
        eventually(lambda: table.inner_text() != moved, "the figures go on")
        assert visit.faults == []


def test_a_silent_node_is_never_shown_as_live(browser: Browser, web_network: Network) -> None:
    """The figures turn grey and say from when they are; when the node speaks again all is live."""
    alice = web_network.alice
    with visiting(browser, alice) as visit:
        visit.enter(alice)
        assert visit.page.get_by_text("Not live.").count() == 0
        figure = visit.page.locator(".figure .value").first
        colour = "element => getComputedStyle(element).color"
        live_colour = figure.evaluate(colour)
        alice.signal(signal.SIGSTOP)
        try:
            visit.wait_for_text("Not live.")
            assert re.search(r"as of \d\d:\d\d:\d\d", visit.page.locator(".figures").inner_text())
            assert figure.evaluate(colour) != live_colour
            assert visit.violations() == []
        finally:
            alice.signal(signal.SIGCONT)
        visit.page.get_by_text("Not live.").wait_for(state="detached", timeout=WAIT_MS)
        assert figure.evaluate(colour) == live_colour


def test_a_tab_that_nobody_sees_gives_its_connection_up(
    browser: Browser, web_network: Network
) -> None:
    """A browser has six connections to a node, and a stream takes one."""
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice)
        ended: list[str] = []
        visit.page.on("requestfailed", lambda request: ended.append(request.url))
        hide = """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        visit.page.evaluate(hide, True)
        visit.page.wait_for_timeout(200)
        assert [url for url in ended if url.endswith("/events")]
        visit.page.evaluate(hide, False)
        visit.settled()
