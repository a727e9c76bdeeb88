"""`hm demo` from outside: its report recomputed from the seed, again, and after kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from hypermesh.node.background import stop
from hypermesh.sdk.location import socket_path
from hypermesh.sdk.mesh import Mesh
from hypermesh.wire.address import GlobalAddress

from .network import eventually, hm, problem

NAMES = ("alice", "bob", "carol")
MECHANISMS = {"cgroup2", "cgroup1", "unenforced"}
DEMO_S = 100.0

SCHEMA: dict[str, Any] = {
    "schema_version": int,
    "seed": int,
    "nodes": [
        {
            "name": str,
            "node_id": str,
            "pid": int,
            "stoq": str,
            "api": str,
            "certificate_sha256": str,
        }
    ],
    "assets": {"registered": int, "by_kind": dict},
    "proofs": {
        "by_kind": {
            kind: {"verified": int, "rejected": int} for kind in ("space", "stake", "work", "time")
        }
    },
    "memory": {
        "address": str,
        "lease": str,
        "bytes_written": int,
        "bytes_read": int,
        "blake3_match": bool,
        "write_gbps": float,
        "read_gbps": float,
        "cas_ok": bool,
    },
    "payment": {
        "lease_ids": list,
        "consumer_delta": int,
        "provider_delta": int,
        "fees": int,
        "conserved": bool,
    },
    "ledger": {"engine": str, "height": int, "app_hash": str, "followers_agree": bool},
    "timings_ms": dict,
}
for _job in ("job", "wasm_job"):
    SCHEMA[_job] = {
        "engine": str,
        "exit_code": int,
        "stdout": str,
        "wall_ms": float,
        "cpu_ms": float,
        "isolation": str,
        "enforced": {"cpu": str, "memory": str},
    }


def check_schema(value: Any, schema: Any, place: str = "report") -> None:
    """Exactly these fields, of these types."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), place
        assert set(value) == set(schema), place
        for name, kind in schema.items():
            check_schema(value[name], kind, f"{place}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), place
        for each in value:
            check_schema(each, schema[0], f"{place}[]")
    else:
        wanted = (int, float) if schema is float else schema
        assert isinstance(value, wanted), (place, value)
        assert schema is bool or not isinstance(value, bool), place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("d")
    yield place
    for name in NAMES:
        stop(place / name)


def demo(place: Path, seed: int) -> dict[str, Any]:
    """One run that ends; its report."""
    report = place / f"report-{seed}.json"
    words = ("demo", "--exit", "--report", str(report), "--seed", str(seed))
    done = hm(*words, data=place, timeout_s=DEMO_S)
    assert done.returncode == 0, problem(done) + done.stdout.decode()
    read: dict[str, Any] = json.loads(report.read_bytes())
    return read


def primes_above(start: int, how_many: int) -> list[int]:
    """By trial division, not as the job does it."""

    def is_prime(number: int) -> bool:
        return number > 1 and not any(number % d == 0 for d in range(2, number) if d * d <= number)

    return list(islice((n for n in count(start + 1) if is_prime(n)), how_many))


def collatz_steps(start: int) -> int:
    steps = 0
    while start != 1:
        start, steps = (start // 2 if start % 2 == 0 else 3 * start + 1), steps + 1
    return steps


def check_report(report: dict[str, Any], seed: int) -> None:
    check_schema(report, SCHEMA)
    assert report["schema_version"] == 1
    assert report["seed"] == seed
    assert [node["name"] for node in report["nodes"]] == list(NAMES)
    for field in ("node_id", "pid", "stoq", "api", "certificate_sha256"):
        assert len({node[field] for node in report["nodes"]}) == 3, field
    assert all(node["stoq"].startswith("[::1]:") for node in report["nodes"])

    assets = report["assets"]
    assert assets["registered"] == sum(assets["by_kind"].values())
    assert assets["by_kind"]["cpu"] == assets["by_kind"]["memory"] == 3
    for proof in report["proofs"]["by_kind"].values():
        assert proof["verified"] >= 3
        assert proof["rejected"] == 1

    memory = report["memory"]
    place = GlobalAddress.parse(memory["address"])
    assert place.node_id.hex() == report["nodes"][2]["node_id"][:16]
    assert memory["bytes_written"] == memory["bytes_read"] >= 1 << 20
    assert memory["blake3_match"] is memory["cas_ok"] is True
    assert memory["write_gbps"] > 0
    assert memory["read_gbps"] > 0

    job, wasm = report["job"], report["wasm_job"]
    assert (job["engine"], wasm["engine"]) == ("python", "wasm")
    assert job["exit_code"] == wasm["exit_code"] == 0
    assert [int(text) for text in job["stdout"].split()] == primes_above(
        10_000 + seed % 1_000_000, 20
    )
    assert int(wasm["stdout"]) == collatz_steps(27 + seed % 1_000_000)
    for each in (job, wasm):
        assert set(each["enforced"].values()) <= MECHANISMS
        assert each["wall_ms"] > 0
        assert each["cpu_ms"] > 0

    payment = report["payment"]
    assert len(set(payment["lease_ids"])) == 3
    assert memory["lease"] in payment["lease_ids"]
    assert payment["conserved"] is True
    assert payment["consumer_delta"] == -(payment["provider_delta"] + payment["fees"])
    assert payment["provider_delta"] > 0
    assert payment["fees"] > 0

    ledger = report["ledger"]
    assert ledger["engine"] == "solo"
    assert ledger["height"] > 0
    assert len(ledger["app_hash"]) == 64
    assert ledger["followers_agree"] is True
    assert report["timings_ms"]["total"] > 0


def ids(report: dict[str, Any]) -> list[str]:
    return [node["node_id"] for node in report["nodes"]]


@pytest.fixture(scope="module")
def first(place: Path) -> dict[str, Any]:
    return demo(place, 7)


def test_the_report_is_what_the_seed_leads_to(first: dict[str, Any]) -> None:
    check_report(first, 7)


def test_the_demo_ends_its_nodes(place: Path, first: dict[str, Any]) -> None:
    for node in first["nodes"]:
        assert not Path(f"/proc/{node['pid']}").exists()
    for name in NAMES:
        assert not socket_path(place / name).exists()
        assert "Traceback" not in (place / name / "node.log").read_text()


def test_a_second_run_goes_on_with_the_same_nodes(place: Path, first: dict[str, Any]) -> None:
    second = demo(place, 1_234_567)
    check_report(second, 1_234_567)
    assert ids(second) == ids(first)
    assert second["assets"] == first["assets"]
    assert second["ledger"]["height"] > first["ledger"]["height"]
    assert second["memory"]["address"] == first["memory"]["address"]
    assert not set(second["payment"]["lease_ids"]) & set(first["payment"]["lease_ids"])


@contextlib.contextmanager
def staying(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo that is done and waits for Ctrl-C with its nodes up."""
    words = [sys.executable, "-m", "hypermesh.cli.main", "demo", "--data", str(place)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        try:
            said = b""
            while b"The three nodes stay up" not in said:
                line = process.stdout.readline()
                assert line, said.decode()
                said += line
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def status(place: Path, name: str) -> Any:
    with Mesh(socket_path(place / name)) as mesh:
        return mesh.network.status()


def test_a_killed_node_is_restarted_while_the_others_run(
    place: Path, first: dict[str, Any]
) -> None:
    """Each in its turn, by `hm up --data DIR`; it catches up with the others."""
    with staying(place) as running:
        for name in NAMES:
            before = status(place, name)
            Path(f"/proc/{before.pid}").stat()
            _kill(before.pid)
            done = hm("up", data=place / name)
            assert done.returncode == 0, problem(done)
            after = status(place, name)
            assert after.node == before.node
            assert after.pid != before.pid
            agreed = eventually(lambda: _agreed(place), f"all agree with {name} again", 60)
            assert agreed[0] >= before.height
        assert running.poll() is None
        address = first["memory"]["address"]
        with (
            Mesh(socket_path(place / "bob")) as bob,
            bob.memory.lease(4096, address=address) as region,
        ):
            region[0:5] = b"again"
            assert region[0:5] == b"again"
    assert running.returncode == 0
    for name in NAMES:
        stop(place / name)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        try:
            return " Z " in Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True

    eventually(gone, f"process {pid} is gone")


def _agreed(place: Path) -> tuple[int, str] | None:
    seen = {(each.height, each.app_hash) for each in (status(place, name) for name in NAMES)}
    return seen.pop() if len(seen) == 1 else None


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(("alice",), marks=pytest.mark.long),
        pytest.param(("bob",), marks=pytest.mark.long),
        pytest.param(("carol",), marks=pytest.mark.long),
        NAMES,
    ],
    ids="-".join,
)
def test_a_run_after_a_kill_works(
    place: Path, first: dict[str, Any], victims: tuple[str, ...]
) -> None:
    """Killed between runs while the others stay up, or all at once, as by a power cut."""
    for name in NAMES:
        assert hm("up", data=place / name).returncode == 0
    for name in victims:
        _kill(status(place, name).pid)
    seed = 100 + len(victims)
    report = demo(place, seed)
    check_report(report, seed)
    assert ids(report) == ids(first)
    for name in NAMES:
        stop(place / name)


def test_a_report_that_cannot_be_written_is_an_error(place: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "report.json"
    done = hm("demo", "--exit", "--report", str(nowhere), data=place, timeout_s=DEMO_S)
    assert done.returncode == 2
    assert str(nowhere) in problem(done)
    assert "Traceback" not in problem(done)


def test_the_nodes_answer_on_loopback_only(place: Path) -> None:
    assert hm("up", data=place / "alice").returncode == 0
    try:
        port = int(status(place, "alice").api.rpartition(":")[2])
        with socket.create_connection(("::1", port), timeout=5):
            pass
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    finally:
        stop(place / "alice")
