"""What keeps each limit of a job is said as it is."""

from __future__ import annotations

from hypermesh.node.offering import limits
from hypermesh.wire.asset import Enforcement


def kept(*enforcement: Enforcement) -> dict[str, str]:
    return {each.name: each.kept_by for each in limits(*enforcement)}


def test_cgroups_keep_what_they_can() -> None:
    said = kept(Enforcement.CGROUP2, Enforcement.CGROUP2, Enforcement.CGROUP1)
    assert (said["cpu"], said["memory"], said["processes"]) == ("cgroup2", "cgroup2", "cgroup1")
    assert said["wall time"] == "node"


def test_without_cgroups_no_cpu_limit_is_claimed() -> None:
    said = kept(*[Enforcement.UNENFORCED] * 3)
    assert said["cpu"] == "unenforced"
    assert (said["memory"], said["processes"]) == ("rlimit", "rlimit")
