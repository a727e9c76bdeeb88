"""A node that comes and goes in order, and one that has nothing to do."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from hypermesh.node.background import stop

from .network import Network, hm, output, problem

STOP_S = 5.0
REST_S = 10.0
CPU_SHARE_MAX = 0.05
"""Of one core. A loose guard against loops that do not wait; the benchmark has the real figure."""

JOB = "import sys\nprint(sum(range(10)))\n"


def test_nothing_is_busy_at_rest(pair: Network) -> None:
    pair.await_agreed()
    processes = {name: psutil.Process(node.pid) for name, node in pair.nodes.items()}
    before = {name: _cpu_s(process) for name, process in processes.items()}
    started = time.monotonic()
    # The only wait in these tests that is not for something: for nothing to happen.
    time.sleep(REST_S)
    elapsed = time.monotonic() - started
    for name, process in processes.items():
        assert (_cpu_s(process) - before[name]) / elapsed < CPU_SHARE_MAX, name


def _cpu_s(process: psutil.Process) -> float:
    """Of the node itself: the provers that an epoch's turn needs are processes of their own."""
    times = process.cpu_times()
    return times.user + times.system


def test_a_node_goes_down_within_seconds_and_leaves_nothing(pair: Network, tmp_path: Path) -> None:
    """Jobs make processes and control groups, followers hold long polls: all of it ends."""
    program = tmp_path / "job.py"
    program.write_text(JOB)
    ran = output(
        hm("job", "run", str(program), "--cpu", "200m", "--output", "json", data=pair.alice.data)
    )
    assert ran["stdout"] == "45\n"
    assert _groups(pair, "bob") or ran["enforced"]["cpu"] == "unenforced"

    for name in ("bob", "alice"):
        node = pair[name]
        children = psutil.Process(node.pid).children(recursive=True)
        started = time.monotonic()
        if name == "bob":
            done = hm("down", data=node.data)
            assert done.returncode == 0, problem(done)
            assert node.process is not None
            assert node.process.wait(STOP_S) == 0
        else:
            assert node.stop() == 0
        assert time.monotonic() - started < STOP_S, name
        assert not [child for child in children if child.is_running()]
        assert not _groups(pair, name)
        assert not (node.data / "hm.sock").exists()
        assert not stop(node.data)

    assert hm("down", data=pair.bob.data).returncode == 0


def _groups(network: Network, name: str) -> list[Path]:
    """Control groups that belong to the node."""
    wanted = f"hypermesh-{network[name].id.hex()[:16]}"
    return [found for found in Path("/sys/fs/cgroup").rglob(wanted) if found.is_dir()]


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_day_without_trouble_leaves_no_complaint_in_the_log(pair: Network, name: str) -> None:
    said = pair[name].log
    assert "Traceback" not in said, said
    complaints = [line for line in said.splitlines() if re.search(r" (ERROR|CRITICAL) ", line)]
    assert not complaints, complaints


def test_an_interrupted_node_goes_down_in_order(pair: Network) -> None:
    pair.revive()
    pair.bob.signal(signal.SIGINT)
    assert pair.bob.process is not None
    assert pair.bob.process.wait(STOP_S) == 0
