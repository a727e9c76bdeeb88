"""The systemd unit: systemd itself reads it, and judges how hard it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "hypermesh.service"
EXPOSURE_MAX = 35
"""Tenths of systemd's 0 to 10. Namespaces and /proc for the sandbox, and the network, cost it."""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def verified(text: str, directory: Path) -> str:
    """What `systemd-analyze verify` complains of."""
    unit = directory / "hypermesh.service"
    # The program is not installed where the unit expects it; everything else is as shipped.
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = analyze("verify", str(unit))
    return done.stdout + done.stderr


def exposed(text: str, directory: Path) -> bool:
    """Whether the unit is more exposed than it may be."""
    unit = directory / "hypermesh.service"
    unit.write_text(text)
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(unit))
    return done.returncode != 0


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    assert verified(UNIT.read_text(), tmp_path) == ""


def test_a_line_that_it_does_not_understand_would_be_seen(tmp_path: Path) -> None:
    wrong = UNIT.read_text().replace("DynamicUser=yes", "DynamcUser=yes")
    assert "DynamcUser" in verified(wrong, tmp_path)


def test_it_is_hard(tmp_path: Path) -> None:
    assert not exposed(UNIT.read_text(), tmp_path)


@pytest.mark.parametrize("line", ["CapabilityBoundingSet=", "SystemCallFilter=", "DynamicUser=yes"])
def test_a_softer_one_would_be_seen(tmp_path: Path, line: str) -> None:
    kept = [each for each in UNIT.read_text().splitlines() if not each.startswith(line)]
    assert exposed("\n".join(kept), tmp_path)


def test_the_sandbox_of_jobs_can_work_in_it() -> None:
    """What bubblewrap and cgroups need (see the comments in the unit) is not taken away."""
    text = UNIT.read_text()
    assert "Delegate=cpu memory pids" in text
    namespaces = re.search(r"^RestrictNamespaces=(.*)$", text, re.MULTILINE)
    assert namespaces
    assert set(namespaces[1].split()) >= {"user", "mnt", "pid", "net", "ipc", "uts"}
    for harmful in (
        "ProtectKernelTunables",
        "ProtectKernelLogs",
        "ProtectProc",
        "ProcSubset",
        "ProtectControlGroups",
        "MemoryDenyWriteExecute",
    ):
        assert not re.search(rf"^{harmful}=", text, re.MULTILINE), harmful
