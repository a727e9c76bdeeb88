"""Two machines of one person: network namespaces with addresses of their own, one of them behind a
link that comes and goes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benches.namespaces import Machines, unavailable

from .network import eventually

REASON = unavailable()
pytestmark = [
    pytest.mark.skipif(bool(REASON), reason=f"no network namespaces: {REASON}"),
    pytest.mark.timeout(240),
]

SHOWN_WITHIN_S = 30.0


class Machine:
    """One machine, as its user's shell is."""

    def __init__(self, machines: Machines, name: str, data: Path) -> None:
        self.machines, self.name, self.data = machines, name, data

    def hm(self, *words: str, stdin: bytes = b"") -> Any:
        """What `hm ... --output json` says at this machine; raises where it fails."""
        command = [sys.executable, "-m", "hypermesh.cli.main", *words]
        command += ["--data", str(self.data), "--output", "json"]
        done = subprocess.run(
            self.machines.command(self.name, *command),
            input=stdin,
            capture_output=True,
            timeout=90,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"hm {' '.join(words)} at {self.name}: {done.stderr.decode()}")
        return json.loads(done.stdout) if done.stdout else None

    def sees(self, host: str) -> list[dict[str, Any]]:
        """Assets of the node `host` that this machine could lease now."""
        items: list[dict[str, Any]] = self.hm("asset", "ls")["items"]
        return [each for each in items if each["host_name"] == host and each["free"]]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    names = ("laptop", "desktop")
    with Machines(*names) as machines:
        made = {name: Machine(machines, name, tmp_path / name) for name in names}
        try:
            yield made
        finally:
            for machine in made.values():
                machine.hm("down")


def test_my_own_machines_find_each_other_over_a_link_that_flaps(
    machines: dict[str, Machine],
) -> None:
    laptop, desktop = machines["laptop"], machines["desktop"]
    laptop.hm("up", "--name", "laptop", "--share", "20%")
    token = laptop.hm("invite", "--mine")["token"]
    with laptop.machines.flapping("desktop", up_s=2.5, down_s=1.0) as flaps:
        # A fast machine is through before a link goes for the first time.
        eventually(lambda: flaps[0] >= 1, "the link has gone")
        began = time.monotonic()
        desktop.hm("join", "-", "--name", "desktop", "--share", "20%", stdin=token.encode())
        left_s = SHOWN_WITHIN_S - (time.monotonic() - began)
        eventually(
            lambda: desktop.sees("laptop") and laptop.sees("desktop"),
            "each machine shows the other's assets",
            left_s,
        )

    ours = desktop.hm("status")["owner"]
    assert laptop.hm("status")["owner"] == ours
    assert {each["owner"] for each in laptop.sees("desktop")} == {ours}


def test_a_lease_lives_through_a_gap_in_the_link(machines: dict[str, Machine]) -> None:
    laptop, desktop = machines["laptop"], machines["desktop"]
    laptop.hm("up", "--name", "laptop", "--share", "20%")
    token = laptop.hm("invite", "--mine")["token"]
    desktop.hm("join", "-", "--name", "desktop", "--share", "20%", stdin=token.encode())
    memory = eventually(
        lambda: [each for each in laptop.sees("desktop") if each["kind"] == "memory"],
        "the desktop's memory shows on the laptop",
    )[0]
    content = bytes(range(256)) * 256
    kept = laptop.data.parent / "content"
    kept.write_bytes(content)
    laptop.hm("memory", "put", memory["address"], str(kept))
    laptop.machines.unplug("desktop")
    try:
        eventually(
            lambda: desktop.hm("status")["contact_age_ms"] > 2_000,
            "the desktop notices that it hears nothing",
        )
    finally:
        laptop.machines.plug("desktop")
    back = laptop.data.parent / "back"

    def read() -> bool:
        laptop.hm("memory", "get", memory["address"], str(back))
        return back.read_bytes() == content

    assert read()
