"""Run the Python tests in workers; what fails of them runs once more, alone.

python tools/tests.py [WORKERS]      (0: in this process alone)

Most of the suite waits for real processes, so two workers a machine of two cores take half the
time. A file's tests stay together, in order, in one worker.

A test that fails among others and passes alone is a race: in the test, or in the product. It is
named at the end, to be mended, but it does not hold up a change that has nothing to do with it.
What fails twice fails the run, and so does a run in which more than a few tests failed, or which
did not get as far as running them (docs/decisions/0023-one-more-run.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".pytest_cache" / "reports"
WORKERS = "2"
AGAIN_MAX = 5
"""More tests than these do not fail by a race."""

SOME_FAILED = 1
"""pytest's exit status where all was collected and run, and something failed."""


def main() -> int:
    os.chdir(ROOT)
    REPORTS.mkdir(parents=True, exist_ok=True)
    workers = ["-n", *(sys.argv[1:] or [WORKERS]), "--dist", "loadfile"]
    status = pytest("all", *workers)
    if status != SOME_FAILED:
        return status
    failed = failures("all")
    if len(failed) > AGAIN_MAX:
        return status
    say(f"{len(failed)} failed among others; each runs once more, alone:")
    if pytest("again", "--last-failed", "--last-failed-no-failures", "none"):
        return SOME_FAILED
    if failures("again") or passes("again") < len(failed):
        return SOME_FAILED
    say("These failed among others and passed alone. They are races, to be mended:")
    for name in failed:
        say(f"  {name}")
    return 0


def pytest(report: str, *options: str) -> int:
    """The exit status of one run of all but the long tests, whose results go to `report`."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not long", *options]
    return subprocess.call([*command, f"--junit-xml={REPORTS / report}.xml"])


def failures(report: str) -> list[str]:
    """The tests of a run that failed, or whose setting up or clearing away did."""
    return sorted({name for name, passed in cases(report) if not passed})


def passes(report: str) -> int:
    return sum(passed for _, passed in cases(report))


def cases(report: str) -> list[tuple[str, bool]]:
    """Name and result of each test that was not skipped."""
    found = ET.parse(REPORTS / f"{report}.xml").iter("testcase")  # noqa: S314  (our own file)
    return [
        (f"{case.get('classname')}::{case.get('name')}", not broken(case))
        for case in found
        if case.find("skipped") is None
    ]


def broken(case: ET.Element) -> bool:
    return any(case.find(word) is not None for word in ("failure", "error"))


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
