"""What an owner does on the pages, with what comes of it on the ledger."""

from __future__ import annotations

from playwright.sync_api import Browser
from tests.node.network import Network, eventually

from hypermesh.wire.asset import AssetKind

from .conftest import Scene
from .visit import visiting

SLOW_PROGRAM = """import sys, time
print("first word", flush=True)
sys.stdin.read(1)
time.sleep(600)
"""


def test_an_asset_is_offered_here_and_bought_there(browser: Browser, web_network: Network) -> None:
    alice, bob = web_network.alice, web_network.bob
    asset = alice.asset(AssetKind.STORAGE).asset
    buyer = bob.ask(lambda mesh: mesh.accounts.get()).owner
    with visiting(browser, alice) as seller, visiting(browser, bob) as other:
        seller.enter(alice, f"/assets/{asset}?tab=owner")
        seller.page.get_by_label("Price, CAES").fill("0.25")
        seller.page.get_by_label("Only to (an owner's id)").fill("not an id")
        assert seller.page.get_by_role("button", name="Offer", exact=True).is_disabled()
        seller.page.get_by_label("Only to (an owner's id)").fill(buyer)
        seller.page.get_by_role("button", name="Offer", exact=True).click()
        seller.wait_for_text("Withdraw the offer")
        other.enter(bob, f"/assets/{asset}?tab=owner")
        other.page.get_by_role("button", name="Buy for 0.25 CAES").click()
        other.wait_for_text("The asset is yours")
        # The seller's page learns of it by itself.
        seller.wait_for_text("Not for sale")
        assert seller.faults == []
        assert other.faults == []
    owner = eventually(
        lambda: alice.ask(lambda mesh: mesh.assets.get(asset)).owner == buyer or None,
        "the ledger has the new owner",
    )
    assert owner


def test_memory_is_leased(browser: Browser, web_network: Network, scene: Scene) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, f"/assets/{scene.asset}")
        visit.page.get_by_role("button", name="Lease…", exact=True).click()
        size = visit.page.get_by_role("dialog").get_by_label("Size")
        lease = visit.page.get_by_role("dialog").get_by_role("button", name="Lease", exact=True)
        size.fill("900TiB")
        assert lease.is_disabled()
        size.fill("2MiB")
        lease.click()
        visit.wait_for_text("Lease of 2 MiB")
        visit.page.get_by_role("button", name="Release…", exact=True).click()
        visit.page.get_by_role("dialog").get_by_role("button", name="Release", exact=True).click()
        visit.wait_for_text("Settled: paid")
        assert visit.faults == []


def test_a_job_prints_while_it_runs_and_is_cancelled(
    browser: Browser, web_network: Network
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/jobs?new=1")
        visit.page.get_by_label("Python program").fill(SLOW_PROGRAM)
        visit.page.get_by_label("Seconds at most").fill("120")
        visit.page.get_by_role("button", name="Run", exact=True).click()
        visit.wait_for_text("first word")
        visit.page.get_by_role("status").get_by_text("running").wait_for()
        visit.page.get_by_role("button", name="Cancel the job").click()
        visit.wait_for_text("was cancelled")
        assert visit.faults == []


def test_units_are_sent(browser: Browser, web_network: Network) -> None:
    bob = web_network.bob
    before = bob.ask(lambda mesh: mesh.accounts.get())
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/wallet")
        visit.page.get_by_role("button", name="Send…").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_label("To (an owner's id)").fill(before.owner)
        dialog.get_by_label("CAES", exact=True).fill("1000000")
        assert dialog.get_by_text("More than is there").is_visible()
        dialog.get_by_label("CAES", exact=True).fill("0.000000003")
        dialog.get_by_role("button", name="Send", exact=True).click()
        visit.wait_for_text("0.000000003 CAES sent")
        assert visit.faults == []
    eventually(
        lambda: bob.ask(lambda mesh: mesh.accounts.get()).balance == before.balance + 3 or None,
        "bob has three more",
    )
