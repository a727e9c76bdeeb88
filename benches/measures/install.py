"""From the wheel to the first result of another machine, as a person does it.

Two machines are two network namespaces. The wheel is built before, untimed. Timed, one after the
other: a fresh environment and `pip install` of the wheel; `hm up` at the first machine; `hm invite
--mine` there; `hm join` at the second; and there, as often as it takes, a program on a processor of
the first, until its output is there.

Two things are not as in life: pip runs outside of the namespaces, which reach no registry, and may
use its cache; and both machines use the one environment, installed once, for in life each installs
its own at the same time. The link between them has no delay.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from namespaces import Machines, unavailable
from result import ROOT, Metric, metric

from measures.network import scratch

GOAL_S = 60.0
WITHIN_S = 180.0
COMMAND_S = 60.0
PROGRAM = "print(6 * 7)\n"
OUTPUT = "42\n"
WHEEL = [
    *("build", "--release", "--locked", "--quiet"),
    *("--manifest-path", str(ROOT / "crates" / "hm-native" / "Cargo.toml")),
]

T = TypeVar("T")


def measure() -> list[Metric]:
    reason = unavailable()
    if reason:
        raise SystemExit(f"product.install needs network namespaces: {reason}")
    with scratch() as directory:
        wheel = built(directory / "dist")
        stages: dict[str, float] = {}

        def timed(stage: str, work: Callable[[], T]) -> T:
            started = time.perf_counter()
            done = work()
            stages[stage] = time.perf_counter() - started
            return done

        timed("pip", lambda: installed(wheel, directory / "environment"))
        with Machines("laptop", "desktop") as machines:
            hm = directory / "environment" / "bin" / "hm"
            laptop = Machine(machines, "laptop", hm, directory)
            desktop = Machine(machines, "desktop", hm, directory)
            try:
                timed("up", lambda: laptop.hm("up", "--name", "laptop"))
                token = timed("invite", lambda: laptop.hm("invite", "--mine"))["token"]
                timed("join", lambda: desktop.hm("join", token, "--name", "desktop"))
                timed("job", lambda: first_result(desktop, "laptop"))
            finally:
                desktop.down()
                laptop.down()
    return [
        metric("product.install", [sum(stages.values())], "s", goal=GOAL_S),
        *(metric(f"product.install.{stage}", [took], "s") for stage, took in stages.items()),
    ]


def built(out: Path) -> Path:
    """The wheel, as `make wheel` makes it."""
    maturin = Path(sys.executable).with_name("maturin")
    environment = {**os.environ, "VIRTUAL_ENV": str(maturin.parents[1])}
    subprocess.run([str(maturin), *WHEEL, "--out", str(out)], check=True, env=environment)
    (wheel,) = out.glob("*.whl")
    return wheel


def installed(wheel: Path, place: Path) -> None:
    venv.create(place, with_pip=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([str(place / "bin" / "pip"), "install", *quiet, str(wheel)], check=True)


class Machine:
    """One machine with a user who has nothing but `hm`."""

    def __init__(self, machines: Machines, name: str, hm: Path, directory: Path) -> None:
        self._machines, self._name, self._hm = machines, name, hm
        self.home = directory / name
        self.home.mkdir()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._machines.command(self._name, str(self._hm), *words),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            cwd=self.home,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.home)},
        )

    def hm(self, *words: str) -> Any:
        """What the command says as JSON; raises where it fails."""
        done = self.run(*words, "--output", "json")
        if done.returncode:
            raise SystemExit(f"hm {words[0]} at {self._name}: {done.stderr}")
        return json.loads(done.stdout)

    def down(self) -> None:
        self.run("down")


def first_result(machine: Machine, host: str) -> None:
    """Ask for a program on the processor of `host` until it has run there."""
    (machine.home / "answer.py").write_text(PROGRAM)
    deadline = time.monotonic() + WITHIN_S
    said = f"no processor of {host} is shown"
    while time.monotonic() < deadline:
        shown = machine.hm("asset", "ls")["items"]
        for asset in shown:
            if (asset["kind"], asset["host_name"]) == ("cpu", host):
                try:
                    done = machine.run("job", "run", "answer.py", "--asset", asset["asset"])
                except subprocess.TimeoutExpired:
                    jobs = machine.run("job", "ls", "--output", "json").stdout
                    raise SystemExit(f"a job without end: {jobs}") from None
                if done.returncode == 0:
                    if done.stdout != OUTPUT:
                        raise SystemExit(f"the program said {done.stdout!r}")
                    return
                said = done.stderr
        time.sleep(0.2)
    raise SystemExit(f"no result within {WITHIN_S:g} s: {said}")
