"""Every page in both themes, wide and narrow: nothing for axe to find, nothing in the console,
nothing asked elsewhere, nothing wider than the window."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.node.network import Network, hm

from .conftest import Scene
from .visit import visiting

NAMES = {
    "overview": "/",
    "nodes": "/nodes",
    "graph": "/nodes?tab=graph",
    "node-table": "/nodes?tab=table",
    "connections": "/nodes?tab=connections",
    "node": "/nodes/{node}?proof=time",
    "assets": "/assets",
    "assets-none": "/assets?q=nothing-is-called-so",
    "asset": "/assets/{asset}?proof=space",
    "asset-not-mine": "/assets/{asset}?tab=privacy",
    "privacy": "/assets/{mine}?tab=privacy",
    "ownership": "/assets/{mine}?tab=owner",
    "history": "/assets/{asset}?tab=history",
    "asset-json": "/assets/{asset}?tab=json",
    "leases": "/leases?which=all",
    "lease": "/leases/{lease}",
    "receipt": "/leases/{settled}?tab=receipt",
    "jobs": "/jobs?new=1",
    "job": "/jobs/{job}?find=line",
    "job-stages": "/jobs/{job}?tab=stages",
    "files": "/files",
    "files-received": "/files?tab=received",
    "files-senders": "/files?tab=senders",
    "ledger": "/blocks",
    "block": "/blocks/3",
    "block-header": "/blocks/3?tab=header",
    "transaction": "/transactions/{tx}",
    "trust": "/trust",
    "trust-authority": "/trust?tab=authority",
    "trust-logs": "/trust?tab=logs",
    "trust-names": "/trust?tab=names",
    "wallet": "/wallet",
    "cheat": "/cheat",
    "first-run": "/first-run",
    "no-such-page": "/nowhere",
}
LOOKS = [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go, to be looked at."""
    return tmp_path_factory.mktemp("pictures")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_every_page(
    browser: Browser, web_network: Network, scene: Scene, pictures: Path, theme: str, width: int
) -> None:
    found: list[str] = []
    with visiting(browser, web_network.alice, theme=theme, width=width) as visit:
        visit.enter(web_network.alice)
        for name, place in NAMES.items():
            visit.go(place.format(**vars(scene)))
            visit.page.screenshot(path=pictures / f"{name}-{theme}-{width}.png", full_page=True)
            found += [f"{name}: {each}" for each in visit.violations()]
            if visit.overflow > 0:
                found.append(f"{name}: {visit.overflow} px wider than the window")
        found += visit.faults
    assert not found, "\n".join(found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [720, 320])
def test_zoomed_in_nothing_is_cut(
    browser: Browser, web_network: Network, scene: Scene, width: int
) -> None:
    """1440 px at 200 %, and 1280 px at 400 % (WCAG 1.4.10)."""
    found = []
    with visiting(browser, web_network.alice, width=width, height=450) as visit:
        visit.enter(web_network.alice)
        for name, place in NAMES.items():
            visit.go(place.format(**vars(scene)))
            if visit.overflow > 0:
                found.append(f"{name}: {visit.overflow} px wider than {width}")
    assert not found, "\n".join(found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_dialogs(browser: Browser, web_network: Network, scene: Scene, theme: str) -> None:
    found: list[str] = []
    opened = {
        "/": "Copy as…",
        "/wallet": "Send…",
        "/files": "Send a file…",
        f"/assets/{scene.asset}": "Lease…",
        f"/leases/{scene.lease}": "Release…",
    }
    with visiting(browser, web_network.alice, theme=theme) as visit:
        visit.enter(web_network.alice)
        for place, button in opened.items():
            visit.go(place)
            visit.page.get_by_role("button", name=button, exact=True).click()
            visit.page.get_by_role("dialog").wait_for()
            found += [f"{button}: {each}" for each in visit.violations()]
            visit.press("Escape")
            visit.page.get_by_role("dialog").wait_for(state="detached")
        found += visit.faults
    assert not found, "\n".join(found)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_without_a_token_it_is_read_only(
    browser: Browser, web_network: Network, scene: Scene, theme: str
) -> None:
    with visiting(browser, web_network.alice, theme=theme) as visit:
        visit.look()
        assert visit.page.get_by_text("hm ui").first.is_visible()
        for place, button in (("/wallet", "Send…"), (f"/assets/{scene.mine}", "Lease…")):
            visit.go(place)
            assert visit.page.get_by_role("button", name=button, exact=True).is_disabled()
            assert visit.violations() == []
        visit.go("/jobs")
        assert visit.page.get_by_text("Jobs are yours alone").is_visible()
        assert visit.violations() == []
        assert visit.faults == []


def test_the_token_leaves_the_address_and_stays_in_the_tab(
    browser: Browser, web_network: Network
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/wallet")
        assert "token" not in visit.page.url
        assert visit.page.url.endswith("#/wallet")
        visit.page.reload()
        visit.settled()
        assert visit.page.get_by_role("button", name="Send…").is_enabled()
        assert visit.page.evaluate("Object.keys(localStorage).length") == 0


def test_a_token_that_is_not_known_makes_it_read_only(
    browser: Browser, web_network: Network
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.page.goto(f"{visit.origin}/#token={'x' * 43}&open=/first-run")
        visit.wait_for_text("Read-only.")
        assert visit.page.get_by_role("button", name="Make an invitation").is_disabled()


def test_what_is_not_there_is_said_with_a_way_out(browser: Browser, web_network: Network) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/blocks/99999999")
        problem = visit.page.get_by_role("alert")
        assert "99999999" in problem.inner_text()
        assert visit.page.get_by_role("button", name="Try again").is_visible()
        assert visit.violations() == []


def test_the_url_holds_the_state(browser: Browser, web_network: Network) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/assets")
        visit.page.get_by_label("Kind").select_option("memory")
        visit.page.get_by_label("Whose").select_option("here")
        with visiting(browser, web_network.alice) as other:
            other.page.goto(visit.page.url)
            other.settled()
            assert other.page.get_by_label("Kind").input_value() == "memory"
            assert other.page.get_by_text("1 asset", exact=False).first.is_visible()
            assert other.page.get_by_role("row").count() == 2


def test_a_receipt_that_the_page_saves_is_checked_offline(
    browser: Browser, web_network: Network, scene: Scene, tmp_path: Path
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, f"/leases/{scene.settled}?tab=receipt")
        visit.page.get_by_role("button", name="Get the receipt").click()
        visit.wait_for_text("as the host's meter says")
        assert visit.violations() == []
        with visit.page.expect_download() as saved:
            visit.page.get_by_role("button", name="Save the receipt").click()
        saved.value.save_as(tmp_path / "receipt.json")
        assert visit.faults == []
    checked = hm("verify", str(tmp_path / "receipt.json"))
    assert checked.returncode == 0, checked.stderr


def test_an_attempt_to_cheat_is_refused_with_its_reason(
    browser: Browser, web_network: Network
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/cheat")
        visit.page.get_by_role("button", name="Try it Forge the proof of stake").click()
        visit.wait_for_text("1 of 1 refused")
        card = visit.page.get_by_role("article").filter(has_text="Forge the proof of stake")
        assert "Reason" in card.inner_text()
        assert "HM-" in card.inner_text()
        assert visit.violations() == []
        assert visit.faults == []


class TestTheChecksThemselves:
    """Each finds the fault that it is there for."""

    def test_axe_finds_a_button_without_a_name(
        self, browser: Browser, web_network: Network
    ) -> None:
        with visiting(browser, web_network.alice) as visit:
            visit.enter(web_network.alice)
            visit.page.evaluate(
                "document.querySelector('main').append(document.createElement('button'))"
            )
            assert any(each.startswith("button-name") for each in visit.violations())

    def test_an_inline_style_is_refused_and_noticed(
        self, browser: Browser, web_network: Network
    ) -> None:
        with visiting(browser, web_network.alice) as visit:
            visit.enter(web_network.alice)
            visit.page.evaluate(
                "document.querySelector('h1').insertAdjacentHTML('afterend', "
                "'<p id=planted style=\"color: rgb(1, 2, 3)\">planted</p>')"
            )
            visit.page.wait_for_timeout(100)
            colour = "getComputedStyle(document.getElementById('planted')).color"
            assert visit.page.evaluate(colour) != "rgb(1, 2, 3)"
            assert any("Content Security Policy" in each for each in visit.faults)

    def test_a_request_elsewhere_is_refused_and_noticed(
        self, browser: Browser, web_network: Network
    ) -> None:
        with visiting(browser, web_network.alice) as visit:
            visit.enter(web_network.alice)
            visit.page.evaluate("fetch('http://[::1]:9/planted').catch(() => undefined)")
            visit.page.wait_for_timeout(100)
            assert any("planted" in each for each in visit.faults)

    def test_too_wide_is_noticed(self, browser: Browser, web_network: Network) -> None:
        with visiting(browser, web_network.alice, width=390) as visit:
            visit.enter(web_network.alice)
            visit.page.evaluate("document.querySelector('h1').style.width = '2000px'")
            assert visit.overflow > 0
