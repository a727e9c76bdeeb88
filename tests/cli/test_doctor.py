"""`hm doctor` on a real node: silent while it is sound, and right about each planted fault."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hypermesh.node.membership import Certified
from hypermesh.wire.codec import decode, encode

from .shell import HM, Done, Machine

DEADLINE_S = 30.0


def report(done: Done) -> dict[str, Any]:
    """What it found besides notes, by id; its exit code says whether it found anything."""
    document = json.loads(done.stdout)
    assert done.stderr == b""
    checks = {each["id"]: each for each in document["checks"]}
    faults = {id_: each for id_, each in checks.items() if each["state"] in ("warn", "fail")}
    assert document["healthy"] == (not faults)
    assert done.returncode == (1 if faults else 0)
    assert all(each["why"] and each["fix"] for each in faults.values())
    return faults


def examined(machine: Machine) -> dict[str, Any]:
    return report(machine.hm("doctor", "--output", "json"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("doctor"), "running")
    try:
        machine.succeeds("up", "--name", "patient", "--share", "5%", "--tls-port", "0")
        deadline = time.monotonic() + DEADLINE_S
        # The first four proofs take a moment, and until they are in force that is what it tells.
        while (faults := examined(machine)) and time.monotonic() < deadline:
            pass
        assert faults == {}
        yield machine
    finally:
        machine.hm("down")


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A node that was stopped in order. Never started again."""
    machine = Machine(tmp_path_factory.mktemp("doctor"), "rest")
    machine.succeeds("up", "--name", "sleeper", "--share", "5%", "--tls-port", "0")
    machine.succeeds("down")
    return machine


@pytest.fixture
def copy(at_rest: Machine, tmp_path: Path) -> Machine:
    """A copy of it, to be damaged."""
    machine = Machine(tmp_path, "copy")
    shutil.copytree(at_rest.data, machine.data)
    return machine


def test_a_sound_node_gives_no_alarm(running: Machine) -> None:
    assert examined(running) == {}
    said = running.succeeds("doctor").stdout.decode()
    assert "All is well" in said
    assert "unprotected at rest" in said
    lines = running.succeeds("doctor", "--output", "jsonl").stdout.splitlines()
    assert len(lines) > 20
    assert {json.loads(line)["state"] for line in lines} <= {"ok", "note"}


def test_a_sound_follower_gives_no_alarm_either(lender: Machine) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (faults := examined(lender)) and time.monotonic() < deadline:
        pass
    assert faults == {}


def test_a_machine_without_a_node_is_no_fault(nowhere: Machine) -> None:
    assert examined(nowhere) == {}
    assert not nowhere.data.exists()


def test_a_node_at_rest_is_told(at_rest: Machine) -> None:
    faults = examined(at_rest)
    assert set(faults) == {"process"}
    assert faults["process"]["fix"] == f"hm up --data {at_rest.data}"
    assert b"fail  node process: no process runs the node\n" in at_rest.hm("doctor").stdout


# Faults of a running node, each undone afterwards


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def content(path: Path, new: bytes) -> Iterator[None]:
    before, bits = path.read_bytes(), path.stat().st_mode
    path.write_bytes(new)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(bits)


@contextlib.contextmanager
def gone(path: Path) -> Iterator[None]:
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def flipped(path: Path, place: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    return bytes(data)


FAULTS: dict[str, Callable[[Machine], contextlib.AbstractContextManager[None]]] = {
    "socket: open to others": lambda node: mode(node.data / "hm.sock", 0o666),
    "socket: gone": lambda node: gone(node.data / "hm.sock"),
    "directory: open to others": lambda node: mode(node.data, 0o755),
    "settings: no JSON": lambda node: content(node.data / "settings.json", b"{"),
    "settings: unknown field": lambda node: content(node.data / "settings.json", b'{"nmae": 1}'),
    "keys: open to others": lambda node: mode(node.data / "keys" / "node.key", 0o644),
    "keys: the directory too": lambda node: mode(node.data / "keys", 0o755),
    "keys: one is gone": lambda node: gone(node.data / "keys" / "owner.key"),
    "keys: a bit flipped": lambda node: content(
        node.data / "keys" / "node.key", flipped(node.data / "keys" / "node.key", 100)
    ),
    "membership: genesis cut short": lambda node: content(node.data / "genesis", b"\x93"),
    "membership: genesis gone": lambda node: gone(node.data / "genesis"),
    "membership: certificate gone": lambda node: gone(node.data / "certificate"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_running_node(running: Machine, fault: str) -> None:
    with FAULTS[fault](running):
        assert list(examined(running)) == [fault.partition(":")[0]]
    assert examined(running) == {}


def test_a_stopped_process(running: Machine) -> None:
    pid = running.json("status")["pid"]
    with stopped(pid):
        started = time.monotonic()
        faults = examined(running)
        assert time.monotonic() - started < DEADLINE_S
    assert list(faults) == ["process"]
    assert faults["process"]["fix"] == f"kill -CONT {pid}"
    assert examined(running) == {}


def test_a_broken_configuration_file(running: Machine) -> None:
    file = running.directory / "config" / "hypermesh" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("\nnmae = 'x'\n")
    try:
        faults = examined(running)
        assert list(faults) == ["configuration"]
        assert (
            f"{file}:2: unknown key 'nmae'; did you mean 'name'?" in faults["configuration"]["why"]
        )
        assert running.hm("status").returncode == 3
    finally:
        file.unlink()


def test_no_bubblewrap(running: Machine, tmp_path: Path) -> None:
    poor = Machine(running.directory, running.name, {"PATH": str(tmp_path)})
    faults = examined(poor)
    assert list(faults) == ["sandbox"]
    assert "bubblewrap" in faults["sandbox"]["fix"]


def test_few_open_files(running: Machine) -> None:
    done = running.run("bash", "-c", f"ulimit -n 256; {HM} doctor --output json")
    assert list(report(done)) == ["open-files"]


def test_no_ipv6(at_rest: Machine) -> None:
    # In a network namespace of its own even the loopback is down.
    done = at_rest.run("unshare", "--net", str(HM), "doctor", "--output", "json")
    if b"unshare" in done.stderr:
        pytest.skip("this user may make no network namespace")
    assert set(report(done)) == {"process", "ipv6"}


def test_a_full_disk(at_rest: Machine, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    script = (
        f"mount -t tmpfs -o size=48m,mode=700 none {place} && cp -r {at_rest.data} {place}/n && "
        f"{HM} doctor --data {place}/n --output json"
    )
    done = at_rest.run("unshare", "--mount", "bash", "-c", script)
    if done.returncode not in (0, 1) or not done.stdout:
        pytest.skip(f"this user may mount nothing: {done.stderr.decode()}")
    assert set(report(done)) == {"process", "disk"}


def test_no_control_groups(nowhere: Machine) -> None:
    script = f"umount -R -l /sys/fs/cgroup && {HM} doctor --output json"
    done = nowhere.run("unshare", "--mount", "bash", "-c", script)
    if not done.stdout:
        pytest.skip(f"this user may unmount nothing: {done.stderr.decode()}")
    assert set(report(done)) == {"limits"}


def test_no_user_namespaces(nowhere: Machine) -> None:
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && {HM} doctor --output json"
    done = nowhere.run("unshare", "--user", "--map-root-user", "bash", "-c", script)
    if not done.stdout:
        pytest.skip(f"this user may make no user namespace: {done.stderr.decode()}")
    faults = report(done)
    assert "max_user_namespaces" in faults["sandbox"]["fix"]


# Faults of a node at rest


def test_a_killed_process_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "killed")
    machine.succeeds("up", "--tls-port", "0")
    pid = machine.json("status")["pid"]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    faults = examined(machine)
    assert list(faults) == ["process"]
    assert f"process {pid} ended without tidying up" in faults["process"]["why"]
    machine.succeeds("up")
    machine.succeeds("down")
    assert f"process {pid}" not in examined(machine)["process"]["why"]


@pytest.mark.parametrize("damage", ["header", "page", "cut"])
def test_a_damaged_ledger(copy: Machine, damage: str) -> None:
    file = copy.data / "ledger" / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    if damage == "header":
        data[:16] = bytes(16)
    elif damage == "page":
        data[8192:12288] = b"\xaa" * 4096
    else:
        del data[len(data) // 2 :]
    file.write_bytes(data)
    assert set(examined(copy)) == {"process", "ledger"}


def test_a_ledger_whose_rows_do_not_fit_its_header(copy: Machine) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(copy.data / "ledger" / "ledger.sqlite")) as ledger:
        changed = ledger.execute("UPDATE buckets SET hash = zeroblob(32)").rowcount
        ledger.commit()
    assert changed > 0
    assert set(examined(copy)) == {"process", "ledger"}


def test_a_damaged_database_of_another_part(copy: Machine) -> None:
    (copy.data / "ca.sqlite").write_bytes(b"no database" * 1000)
    faults = examined(copy)
    assert set(faults) == {"process", "databases"}
    assert "ca.sqlite" in faults["databases"]["why"]


def test_a_certificate_that_has_ended(copy: Machine) -> None:
    file = copy.data / "certificate"
    held = decode(Certified, file.read_bytes())
    file.write_bytes(encode(Certified(held.chain, held.owner, int(time.time()) - 60)))
    assert set(examined(copy)) == {"process", "certificate"}


def test_a_port_that_is_held(copy: Machine) -> None:
    port = json.loads((copy.data / "settings.json").read_text())["stoq_port"]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as holder:
        holder.bind(("::", port))
        faults = examined(copy)
    assert set(faults) == {"process", "stoq-port"}
    assert str(port) in faults["stoq-port"]["fix"]


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "file")
    machine.data.write_text("")
    assert set(examined(machine)) == {"directory"}
