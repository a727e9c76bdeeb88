"""Without a mouse: a job is run, the privacy of an asset is changed, a lease is released."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from tests.node.network import Network, eventually

from hypermesh.wire.api.privacy import PrivacyChange
from hypermesh.wire.asset import PrivacyLevel

from .conftest import Scene
from .visit import Visit, visiting


def test_the_first_stop_skips_the_menu(browser: Browser, web_network: Network) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice)
        visit.press("Tab")
        assert visit.focused["words"] == "Skip to the content"
        visit.press("Enter")
        assert visit.focused["tag"] == "main"
        visit.press("Tab")
        assert visit.focused["words"] == "Copy as…"


def test_a_job_is_run(browser: Browser, web_network: Network) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice)
        visit.tab_to("Jobs")
        visit.press("Enter")
        visit.wait_until("document.activeElement.tagName === 'H1'")
        assert visit.focused["words"] == "Jobs"
        visit.tab_to("Run a job…")
        visit.press("Enter")
        visit.tab_to("Python program")
        visit.press("Control+A")
        visit.page.keyboard.type("print('typed', 6 * 7)")
        visit.tab_to("Run", "button")
        visit.press("Enter")
        visit.page.wait_for_url("**/#/jobs/*")
        visit.wait_for_text("typed 42")
        visit.wait_for_text("ended by itself, exit code 0")
        assert visit.faults == []


def test_privacy_is_changed_with_a_preview(
    browser: Browser, web_network: Network, scene: Scene
) -> None:
    alice = web_network.alice

    def level() -> PrivacyLevel:
        terms = alice.ask(lambda mesh: list(mesh.privacy.settings()))
        return next(each.level for each in terms if each.asset == scene.mine)

    assert level() is PrivacyLevel.FULL_PUBLIC
    try:
        with visiting(browser, alice) as visit:
            visit.enter(alice, f"/assets/{scene.mine}")
            visit.tab_to("Overview", "button")
            visit.press("ArrowRight")
            assert visit.focused["words"] == "Privacy"
            visit.settled()
            visit.tab_to("Full public", "input")
            for _ in range(4):
                visit.press("ArrowUp")
            assert visit.focused["words"].startswith("Private")
            # Bob, who may lease it now, could not any more; and nothing has changed yet.
            preview = visit.page.get_by_role("region", name="Who can see and lease this")
            preview.get_by_text("no (now yes)").first.wait_for()
            assert level() is PrivacyLevel.FULL_PUBLIC
            visit.tab_to("Apply the change")
            visit.press("Enter")
            visit.wait_for_text("The new terms are in force")
            assert visit.faults == []
        assert level() is PrivacyLevel.PRIVATE
    finally:
        change = PrivacyChange(asset=scene.mine, level=PrivacyLevel.FULL_PUBLIC)
        alice.ask(lambda mesh: mesh.privacy.change(change))


def test_a_lease_is_released(browser: Browser, web_network: Network, scene: Scene) -> None:
    alice = web_network.alice
    lease = alice.ask(lambda m: m.leases.allocate(scene.asset, 1 << 20, keep=True)).lease.lease
    with visiting(browser, alice) as visit:
        visit.enter(alice, f"/leases/{lease}")
        visit.tab_to("Release…")
        visit.press("Enter")
        assert visit.focused["words"] == "Keep it"
        _stays_in_the_dialog(visit)
        visit.press("Escape")
        assert visit.page.get_by_role("dialog").count() == 0
        assert visit.focused["words"] == "Release…"
        visit.press("Enter")
        visit.tab_to("Release", "button")
        visit.press("Enter")
        visit.wait_for_text("Settled: paid")
        visit.wait_for_text("settled")
        assert visit.faults == []
    settled = eventually(
        lambda: alice.ask(lambda mesh: mesh.leases.get(lease)).lease.paid is not None or None,
        "the lease is settled",
    )
    assert settled


@pytest.mark.parametrize("back", ["Tab", "Shift+Tab"])
def test_a_dialog_keeps_the_focus(browser: Browser, web_network: Network, back: str) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/wallet")
        visit.tab_to("Send…")
        visit.press("Enter")
        visit.page.get_by_role("dialog").wait_for()
        _stays_in_the_dialog(visit, back)


def _stays_in_the_dialog(visit: Visit, key: str = "Tab") -> None:
    for _ in range(8):
        visit.press(key)
        now = visit.focused
        # Between the last stop and the first are the browser's own controls.
        assert now["in_dialog"] or now["tag"] == "body", now
