"""What an owner does on the pages, with what comes of it on the ledger."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser
from tests.node.network import Network, eventually, hm

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


def test_a_file_is_sent_and_its_proof_saved(
    browser: Browser, web_network: Network, scene: Scene, tmp_path: Path
) -> None:
    alice, bob = web_network.alice, web_network.bob
    owner = alice.ask(lambda mesh: mesh.accounts.get()).owner
    file = tmp_path / "results.csv"
    file.write_text("a,b\n1,2\n")
    with visiting(browser, alice) as visit, visiting(browser, bob) as other:
        visit.enter(alice, "/files")
        visit.page.get_by_role("button", name="Send a file…").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_label("File").fill("results.csv")
        assert dialog.get_by_text("It begins with /").is_visible()
        dialog.get_by_label("File").fill(str(file))
        dialog.get_by_role("button", name="Send", exact=True).click()
        row = visit.page.get_by_role("row").filter(has_text="results.csv")
        with visit.page.expect_download() as saved:
            row.get_by_role("button", name="Save the proof").click()
        saved.value.save_as(tmp_path / "proof.json")
        other.enter(bob, "/files?tab=received")
        other.wait_for_text("results.csv")

        other.go("/files?tab=senders")
        other.page.get_by_role("row").filter(has_text=owner[:12]).get_by_role("button").last.click()
        other.wait_for_text("Your own nodes alone")
        visit.page.get_by_role("button", name="Send a file…").click()
        dialog.get_by_label("File").fill(str(file))
        dialog.get_by_role("button", name="Send", exact=True).click()
        visit.wait_for_text("takes no files")
        other.page.get_by_label("Take files of (an owner's id)").fill(owner)
        other.page.get_by_role("button", name="Allow").click()
        other.wait_for_text("This owner may send files here")
        assert visit.faults == []
        assert other.faults == []
    checked = hm("verify", str(tmp_path / "proof.json"), str(file))
    assert checked.returncode == 0, checked.stderr


def test_a_connection_says_what_it_waits_for(
    browser: Browser, web_network: Network, scene: Scene
) -> None:
    with visiting(browser, web_network.alice) as visit:
        visit.enter(web_network.alice, "/nodes?tab=connections")
        row = visit.page.get_by_role("row").filter(has_text="bob").first
        assert "of its time" in row.inner_text()
        assert "loopback" in row.inner_text()
        assert visit.faults == []
