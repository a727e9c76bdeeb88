"""Every measure of `make bench-stoq` runs, and none of its checks lets a wrong transfer pass."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
LIMIT_S = 240
Import = Callable[[str], ModuleType]


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Import:
    monkeypatch.syspath_prepend(str(BENCHES))
    return lambda name: importlib.import_module(f"measures.transport.{name}")


@pytest.fixture(scope="session")
def binary() -> Path:
    """The Rust ends and the relay, built where they are not."""
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--bins"]
    command += ["--workspace", "--exclude", "hm-native"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target" / "release" / "stoq-bench"


def short(name: str, report: Path) -> dict[str, dict[str, object]]:
    command = [sys.executable, str(BENCHES / "stoq.py"), "--short", "--only", name]
    done = subprocess.run(
        [*command, "--report", str(report)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(report.read_text())["metrics"]
    return {each["id"]: each for each in metrics}


MEASURES = {
    "loopback": {
        "stoq.loopback.one_connection",
        "stoq.loopback.to_python_ssl",
        "stoq.loopback.to_rustls",
        "stoq.loopback.stretch_to_tcp",
        "stoq.python.to_rust",
    },
    "mtu1500": {"stoq.mtu1500.one_connection", "stoq.mtu1500.to_quinn_best"},
    "mtu9000": {"stoq.mtu9000.one_connection", "stoq.mtu9000.aioquic"},
    "request": {
        "stoq.request.awake.p50",
        "stoq.request.sleeping.p50",
        "stoq.request.idle_cpu",
        "stoq.request.asyncio.p90",
        "stoq.request.pipelined",
    },
    "handshake": {"stoq.handshake.rate", "stoq.handshake.step.falcon_sign"},
    "connections": {"stoq.connections.answered", "stoq.connections.idle_memory"},
    "lossy": {"stoq.lossy.wan.to_quinn", "stoq.lossy.geo.stoq", "stoq.lossy.hostile.intact"},
    "transfer": {
        "stoq.transfer.pipeline",
        "stoq.transfer.compressed",
        "stoq.transfer.tensors_as_content",
        "stoq.transfer.inserted_byte",
        "stoq.transfer.proof",
    },
    "curves": {"stoq.loopback.message.64.stoq", "stoq.loopback.connections.4.quinn_best"},
    "ablation": {
        f"stoq.ablation.{part}.{state}"
        for part in ("pooling", "batching", "gso", "gro", "pinning")
        for state in ("on", "off")
    }
    | {"stoq.ablation.bundles.1", "stoq.ablation.bundles.4"},
}


LONG = {"ablation", "connections", "curves", "lossy"}


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in MEASURES],
)
def test_a_measure_runs(name: str, binary: Path, transport: Import, tmp_path: Path) -> None:
    del transport
    del binary
    if missing := importlib.import_module("stoq").unavailable(name):
        pytest.skip("; ".join(missing))
    found = short(name, tmp_path / "stoq.json")
    assert MEASURES[name] <= set(found)
    none = {"stoq.connections.retried", "stoq.transfer.tensors"}
    assert all(each["value"] > 0 for name, each in found.items() if name not in none), found


def test_every_measure_is_tested(transport: Import) -> None:
    del transport
    assert set(importlib.import_module("stoq").MEASURES) == set(MEASURES)


# The checks


@pytest.mark.parametrize("name", ["STOQ", "STOQ_PYTHON", "QUINN", "RUSTLS", "TCP", "PYTHON_TCP"])
def test_other_bytes_are_seen(name: str, binary: Path, transport: Import, tmp_path: Path) -> None:
    """Both ends have a pattern; here they differ in one bit, far from the beginning."""
    assert binary.exists()
    sender, receiver = tmp_path / "sender", tmp_path / "receiver"
    sender.mkdir()
    transport("credentials").make(sender)
    shutil.copytree(sender, receiver)
    pattern = bytearray((receiver / "pattern").read_bytes())
    pattern[200_000] ^= 1
    (receiver / "pattern").write_bytes(pattern)
    ends, peer = transport("ends"), getattr(transport("peers"), name)
    receive = [*peer.command("receive"), "--listen", "::1", "--credentials", str(receiver)]
    send = [*peer.command("send"), "--credentials", str(sender), "--seconds", "0.3"]
    listening, port = ends.listening(receive, ends.LOOPBACK, 30)
    with (
        listening,
        ends.dialling(send, ends.LOOPBACK, port, 30),
        pytest.raises(SystemExit, match="wrong bytes after"),
    ):
        listening.last()


@pytest.mark.parametrize(
    ("sent", "received", "seen"),
    [
        ({"bytes": 9}, {"bytes": 9}, ""),
        ({"bytes": 9}, {"bytes": 8}, "bytes 8 received, 9 sent"),
        ({"bytes": 9, "digest": "aa"}, {"bytes": 9, "digest": "ab"}, "digest ab received"),
        ({"bytes": 9, "digest": "aa"}, {"bytes": 9}, "digest None received"),
    ],
)
def test_both_ends_have_to_agree(
    transport: Import, sent: dict[str, object], received: dict[str, object], seen: str
) -> None:
    agree = transport("ends").agree
    if not seen:
        agree("x", sent, received)
        return
    with pytest.raises(SystemExit, match=seen):
        agree("x", sent, received)


def test_the_slope_is_what_a_further_connection_costs(transport: Import) -> None:
    slope = transport("connections").slope
    assert slope([1, 2, 3], [1040, 1080, 1120]) == pytest.approx(40)
    assert slope([1, 2, 3], [7000, 7000, 7000]) == 0


def test_an_end_that_fails_says_why(transport: Import) -> None:
    with (
        transport("ends").End([sys.executable, "-c", "raise SystemExit('no luck')"], 20) as end,
        pytest.raises(SystemExit, match="no luck"),
    ):
        end.line()


def test_an_end_that_hangs_is_ended(transport: Import) -> None:
    with (
        transport("ends").End([sys.executable, "-c", "input()"], 0.2) as end,
        pytest.raises(SystemExit, match="took too long"),
    ):
        end.line()
