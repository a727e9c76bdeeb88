"""`Copy as…`: what a page gives to paste does what the page shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import Browser
from tests.node.network import Network

from .conftest import Scene
from .visit import token, visiting

PLACES = {
    "/": "name",
    "/nodes": "bob",
    "/nodes/{node}": "bob",
    "/assets": "memory",
    "/assets?kind=memory": "memory",
    "/assets/{asset}": "memory",
    "/leases?which=all": "memory",
    "/leases/{lease}": "memory",
    "/jobs": "done",
    "/jobs/{job}": "done",
    "/files": "sample.bin",
    "/files?tab=received": "sample.bin",
    "/blocks": "hash",
    "/blocks/3": "hash",
    "/transactions/{tx}": "nonce",
    "/wallet": "balance",
    "/cheat": "forge-space",
}


@pytest.mark.timeout(300)
def test_each_does_what_it_says(browser: Browser, web_network: Network, scene: Scene) -> None:
    alice = web_network.alice
    environment = {**os.environ, "HYPERMESH_DATA": str(alice.data)}
    failed: list[str] = []

    def run(what: str, command: list[str], word: str) -> None:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode or word not in done.stdout:
            failed.append(f"{what}: {done.returncode} {done.stdout[:200]} {done.stderr[-400:]}")

    with visiting(browser, alice) as visit:
        visit.enter(alice)
        for place, word in PLACES.items():
            visit.go(place.format(**vars(scene)))
            visit.page.get_by_role("button", name="Copy as…").click()
            cli, curl, python = visit.page.get_by_role("dialog").locator("pre").all_inner_texts()
            visit.press("Escape")
            words = shlex.split(cli)
            assert words[0] == "hm"
            if words[1] != "try-to-cheat":  # that one attacks
                hm = [sys.executable, "-m", "hypermesh.cli.main", *words[1:]]
                run(cli, [*hm, "--output", "json"], word)
            # The token of this node, which does not stand where a user's does.
            where = "$(cat ~/.local/share/hypermesh/api-token)"
            run(curl, ["sh", "-c", curl.replace(where, token(alice))], word)
            run(python, [sys.executable, "-c", python], word)
    assert not failed, "\n".join(failed)
