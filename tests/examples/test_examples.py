"""The examples run as they are, on two machines, and do what they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.shell import Machine

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("examples"), "desktop")
    try:
        machine.succeeds("up", "--name", "desktop", "--share", "50%")
        yield machine
    finally:
        machine.hm("down")


@pytest.fixture(scope="module")
def laptop(desktop: Machine) -> Iterator[Machine]:
    machine = Machine(desktop.directory, "laptop")
    token = desktop.succeeds("invite", "--mine").stdout.decode().strip()
    try:
        machine.succeeds("join", token, "--name", "laptop", "--share", "50%")
        for each in FOLDER.glob("*.py"):
            shutil.copy(each, desktop.directory)
        yield machine
    finally:
        machine.hm("down")


def output(machine: Machine, *words: str) -> str:
    done = machine.run(sys.executable, *words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_my_machines_as_a_pool(laptop: Machine) -> None:
    said = output(laptop, "pool.py")
    for name in ("desktop", "laptop"):
        assert re.search(rf"^{name} +found 2262 primes in ", said, re.MULTILINE), said
    assert re.search(r"^together 0\.0\d+ CAES$", said, re.MULTILINE)


def test_a_cache_on_remote_memory(laptop: Machine) -> None:
    said = output(laptop, "remote_cache.py")
    assert said.count("8633 = 89 * 97\n") == 3
    assert "600851475143 = 71 * 839 * 1471 * 6857\n" in said
    assert re.search(r"^3 from (desktop|laptop)'s memory, 3 computed$", said, re.MULTILINE)


def test_a_parameter_sweep(laptop: Machine) -> None:
    said = output(laptop, "sweep.py", "--points", "3")
    assert said.startswith("rate 0.0004  momentum 0.90  reaches ")
    assert "9 tried" in said
    done = laptop.json("job", "ls", "--state", "done")["items"]
    assert len(done) >= 9


def test_a_shared_render_queue(laptop: Machine) -> None:
    """Two workers at once: every frame is rendered, and none twice."""
    listed = laptop.json("asset", "ls", "--kind", "memory")["items"]
    address = next(str(each["address"]) for each in listed if each["host_name"] == "desktop")
    assert "open" in output(laptop, "render_queue.py", "start", address)
    command = [sys.executable, "render_queue.py", "work", address, "--frames", "6"]
    workers = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=laptop.directory, env=laptop.environment, text=True
        )
        for _ in range(2)
    ]
    said = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    taken = sorted("".join(said).split("\n"))
    assert taken == ["", *(f"frame {number}" for number in range(6))]
    frames = sorted((laptop.directory / "frames").iterdir())
    assert [frame.name for frame in frames] == [f"frame-{number:03}.pgm" for number in range(6)]
    head, _, pixels = frames[0].read_bytes().partition(b"255\n")
    assert head == b"P5 96 64 "
    assert len(pixels) == 96 * 64
    assert len(set(pixels)) > 10


def test_every_example_is_listed_and_tested() -> None:
    here = Path(__file__).read_text()
    listed = (FOLDER / "README.md").read_text()
    for each in FOLDER.glob("*.py"):
        assert f"[{each.name}]({each.name})" in listed
        assert f'"{each.name}"' in here
