"""`stoq-server` and `hm stoq` on two machines with a cable between them: datagrams grow to what it
takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from benches.namespaces import Cable, unavailable

from hypermesh.standalone.authority import own_keys
from hypermesh.stoq.path import BOUNDS

REASON = unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"no network namespaces: {REASON}")

WAIT_S = 90.0
HEADERS_BYTES = 40 + 8
"""Of IPv6 and UDP."""


def measured(wire: Cable, keys: Path, place: str, pin: str) -> dict[str, Any]:
    """What `hm stoq perf` says at the near end."""
    command = [sys.executable, "-m", "hypermesh.cli.main", "stoq", "perf", place, "--pin", pin]
    command += ["--keys", str(keys), "--for", "1s", "--output", "json"]
    done = subprocess.run(
        wire.command("near", *command), capture_output=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_datagrams_grow_to_what_the_cable_takes(mtu: int, tmp_path: Path) -> None:
    data, keys = tmp_path / "server", tmp_path / "client"
    data.mkdir(mode=0o700)
    (data / "authorized_peers").write_text(f"{own_keys(keys).id.hex()}\n")
    with Cable(mtu) as wire:
        listen = f"[{wire.address('far')}]:0"
        command = [sys.executable, "-m", "hypermesh.standalone.server"]
        command += ["--data", str(data), "--listen", listen]
        with subprocess.Popen(
            wire.command("far", *command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                said = dict(server.stdout.readline().split() for _ in range(3))
                deadline = time.monotonic() + WAIT_S
                while True:
                    found = measured(wire, keys, said["listen"], said["pin"])
                    if found["datagram_bytes"] == mtu - HEADERS_BYTES:
                        break
                    assert time.monotonic() < deadline, found
            finally:
                server.kill()
    assert not found["path"].startswith("loopback")
    assert found["because_it"].startswith("delivers ")
    assert set(found["up_waited_for"]) == set(BOUNDS)
    assert sum(found["up_waited_for"].values()) == pytest.approx(1)
