"""The first five minutes, as whoever installed it today has them: two machines, one owner, and what
`hm` says at each step."""

from __future__ import annotations

import json
import os
import re
import signal
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
    pytest.mark.timeout(180),
]

SHOWN_WITHIN_S = 30.0
HM = [sys.executable, "-m", "hypermesh.cli.main"]

PRIMES = """\
LIMIT = 1_000_000
sieve = bytearray([1]) * LIMIT
sieve[0:2] = bytes(2)
for n in range(2, 1000):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(range(n * n, LIMIT, n)))
print(f"{sum(sieve)} primes below {LIMIT}")
"""

FOREVER = """\
import time
print("begun", flush=True)
time.sleep(60)
"""

ARRAY = """\
import sys, time
import hypermesh as hm
from hypermesh.sdk.call import Call
from hypermesh.wire.api.memory import MemoryPage

with hm.connect() as mesh:
    with mesh.memory.lease("1GiB", address=sys.argv[1]).numpy("int64") as array:
        array[:1000] = range(1000)
        assert array[:1000].sum() == 499_500
        assert len(array) == (1 << 30) // 8
        deadline = time.monotonic() + 20
        while True:
            array[:100_000] = 7
            seen = mesh.rest.run(Call(MemoryPage, "GET", "/v1/memory"))
            measured = next((each.measured for each in seen.items if each.measured), None)
            if measured and measured.write:
                break
            assert time.monotonic() < deadline
        print(f"{measured.write.p50_us:.0f} us, {measured.write.gigabytes_per_s:.3f} GB/s")
"""

LOST = """\
import sys
import hypermesh as hm

with hm.connect() as mesh:
    try:
        with mesh.memory.lease("1MiB", address=sys.argv[1]).numpy("int64") as array:
            array[:100] = 7
            print("written", flush=True)
            while set(array[:100]) == {7}:
                pass
    except hm.ProviderLost as error:
        print(error.provider_name, error.lease, error.exit_code)
"""


class Machine:
    """One machine and its user, who types and reads."""

    def __init__(self, machines: Machines, name: str, home: Path) -> None:
        self._machines, self.name, self.home = machines, name, home
        home.mkdir()

    def begin(self, *command: str) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if "HYPERMESH" not in key}
        return subprocess.Popen(
            self._machines.command(self.name, *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=kept | {"HYPERMESH_DATA": str(self.home / "node"), "PYTHONPATH": ""},
        )

    def run(self, *command: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
        """What it says on stdout and on stderr; ends with `code`."""
        with self.begin(*command) as process:
            said = process.communicate(stdin, timeout=90)
        assert process.returncode == code, (self.name, command, *said)
        return said

    def hm(self, *words: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
        return self.run(*HM, *words, stdin=stdin, code=code)

    def json(self, *words: str) -> Any:
        return json.loads(self.hm(*words, "--output", "json")[0])

    def write(self, name: str, text: str) -> None:
        (self.home / name).write_text(text)

    def asset(self, host: str, kind: str) -> dict[str, Any] | None:
        """What `host` shows here of a kind, if it could be leased now."""
        for each in self.json("asset", "ls", "--kind", kind)["items"]:
            if each["host_name"] == host and each["free"]:
                found: dict[str, Any] = each
                return found
        return None


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    names = ("laptop", "desktop")
    with Machines(*names) as machines:
        laptop, desktop = (Machine(machines, name, tmp_path / name) for name in names)
        try:
            yield laptop, desktop
        finally:
            for each in (laptop, desktop):
                each.hm("down")


def test_the_first_five_minutes(home: tuple[Machine, Machine]) -> None:
    laptop, desktop = home
    _two_become_one_pool(laptop, desktop)
    receipt = _a_job_and_its_receipt(laptop)
    memory = laptop.asset("desktop", "memory")
    assert memory is not None
    words, _ = laptop.run(sys.executable, "-c", ARRAY, memory["address"])
    assert re.fullmatch(r"\d+ us, \d+\.\d{3} GB/s\n", words)
    _the_provider_is_killed(laptop, desktop, memory["address"])
    assert "checks hold" in laptop.hm("explain", receipt)[0]
    _nothing_gets_through(laptop)


def _two_become_one_pool(laptop: Machine, desktop: Machine) -> None:
    said, _ = laptop.hm("up", "--name", "laptop")
    assert "alone in its network" in said
    for kind in ("cpu", "memory", "storage"):
        assert re.search(rf"{kind} +laptop \(here\)", said)
    token, advice = laptop.hm("invite", "--mine")
    assert "hm join TOKEN" in advice
    began = time.monotonic()
    desktop.hm("join", "-", "--name", "desktop", stdin=token)
    eventually(
        lambda: laptop.asset("desktop", "cpu") and desktop.asset("laptop", "cpu"),
        "each machine shows the other's assets",
        SHOWN_WITHIN_S - (time.monotonic() - began),
    )
    for here, other in ((laptop, "desktop"), (desktop, "laptop")):
        shown, _ = here.hm("node", "ls")
        assert re.search(rf"{other} +[0-9a-f]{{16}} +mine .* attested +direct", shown), shown
    _, used = desktop.hm("join", "-", stdin=token, code=6)
    assert "already running" in used
    # What the node's process said is what its user reads, and the command that helps.
    elsewhere = ("--data", str(desktop.home / "other"))
    _, used = desktop.hm("join", "-", *elsewhere, stdin=token, code=4)
    assert "did not start: The invitation was used by another request  [HM-TRUST-0013]" in used
    assert "fix: Ask for a new one" in used
    _, down = desktop.hm("status", *elsewhere, code=7)
    assert f"fix: Start one with `hm up --data {desktop.home / 'other'}`" in down


def _a_job_and_its_receipt(laptop: Machine) -> str:
    laptop.write("primes.py", PRIMES)
    printed, ending = laptop.hm("job", "run", "primes.py", "--cpu", "1")
    assert printed == "78498 primes below 1000000\n"
    assert "exited with 0" in ending
    assert re.search(r"in bubblewrap\S*; cost 0\.\d+ CAES", ending), ending
    found = re.search(r"receipt ([0-9a-f]{64})", ending)
    assert found is not None
    receipt = found[1]

    origins, _ = laptop.hm("explain", receipt)
    for figure in ("price", "amount", "held", "cost", "fee", "paid", "refund", "isolation"):
        assert re.search(rf"^{figure} ", origins, re.MULTILINE), origins
    document, _ = laptop.hm("lease", "receipt", receipt)
    laptop.write("receipt.json", document)
    laptop.write("forged.json", document.replace('"paid": ', '"paid": 9', 1))
    # A machine that was never part of it: no network, no node, no home.
    bare = ["unshare", "--net", "env", f"HYPERMESH_DATA={laptop.home / 'none'}", *HM]
    verdict, _ = laptop.run(*bare, "verify", "receipt.json")
    assert re.search(r"verdict +all \d+ checks hold", verdict), verdict
    verdict, _ = laptop.run(*bare, "verify", "forged.json", code=9)
    assert "FAILED  figure paid" in verdict
    return receipt


def _the_provider_is_killed(laptop: Machine, desktop: Machine, memory: str) -> None:
    """In the middle of a lease of memory, and of a job."""
    cpu = laptop.asset("desktop", "cpu")
    assert cpu is not None
    before = laptop.json("wallet", "show")
    laptop.write("forever.py", FOREVER)
    job = laptop.begin(*HM, "job", "run", "forever.py", "--asset", cpu["asset"])
    lease = laptop.begin(sys.executable, "-c", LOST, memory)
    for each, sign in ((job, "begun\n"), (lease, "written\n")):
        assert each.stdout is not None
        assert each.stdout.readline() == sign
    height = laptop.json("status")["height"]

    os.kill(desktop.json("status")["pid"], signal.SIGKILL)
    desktop.hm("up")
    lost, trouble = lease.communicate(timeout=60)
    assert not lease.returncode, trouble
    name, lease_id, exit_code = lost.split()
    assert (name, exit_code) == ("desktop", "7")
    _, trouble = job.communicate(timeout=60)
    assert job.returncode == 7, trouble
    assert "desktop went away in the middle of the job  [HM-JOB-0011]" in trouble
    assert "fix: Run the job again" in trouble

    # The job's escrow is back, less what was used; that of the memory has its time.
    def settled() -> bool:
        return "refund of lease" in laptop.hm("wallet", "history", "--last", "1")[0]

    eventually(settled, "the job's lease is settled")
    _, trouble = laptop.hm("lease", "release", lease_id, code=5)
    assert re.search(r"fix: .* all of its escrow, 0\.\d+ CAES, comes back by itself at 20", trouble)
    escrow = laptop.json("lease", "show", lease_id)["lease"]["escrow"]
    after = laptop.json("wallet", "show")
    assert after["in_escrow"] == before["in_escrow"] + escrow

    # What was acknowledged is there on both sides.
    blocks = [each.json("block", "show", str(height))["hash"] for each in (laptop, desktop)]
    assert blocks[0] == blocks[1]


def _nothing_gets_through(laptop: Machine) -> None:
    known = ["forge-space", "forge-stake", "forge-work", "forge-time", "replay", "overspend"]
    known += ["read-freed-memory", "revoked-node", "tamper-block"]
    cpu = laptop.asset("laptop", "cpu")
    if cpu is not None and cpu["enforcement"] != "unenforced":
        known.append("exceed-cpu")
    shown, _ = laptop.hm("try-to-cheat", *known)
    assert f"{len(known)} attempts, {len(known)} refused." in shown
    for part in ("what:   ", "tried:  ", "reason: ", "rule:   "):
        assert shown.count(f"\n  {part}") == len(known), shown
