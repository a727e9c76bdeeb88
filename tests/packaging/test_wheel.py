"""The wheel, as a person installs it: in an environment without a compiler and without Node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WHEEL_BYTES_MAX = 60 * 1024 * 1024

pytestmark = pytest.mark.timeout(600)


def run(command: list[str | Path], **environment: str) -> str:
    """What the command prints; raises with all it said where it fails."""
    done = subprocess.run(
        command,
        env=environment or None,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    maturin = [BIN / "maturin", "build", "--release", "--locked", "--quiet"]
    run(
        [*maturin, "--manifest-path", ROOT / "crates/hm-native/Cargo.toml", "--out", out],
        **{**os.environ, "VIRTUAL_ENV": str(BIN.parent)},
    )
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and what it needs, all of it prebuilt."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    # What pip is told by the environment stays, its PATH does not: nothing can compile there.
    run([place / "bin/pip", "install", *quiet, wheel], **{**os.environ, "PATH": str(place)})
    return place / "bin"


def test_one_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    assert wheel.stat().st_size <= WHEEL_BYTES_MAX


def test_the_page_is_inside_where_it_was_built(wheel: Path) -> None:
    built = ROOT / "src/hypermesh/_ui"
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"hypermesh/_ui/{path.relative_to(built)}" for path in built.rglob("*.*")}
    assert expected <= names
    assert not any("node_modules" in name or name.endswith(".tsx") for name in names)


def test_a_first_node_shows_its_assets_with_effective_limits(
    installed: Path, tmp_path: Path
) -> None:
    home = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path)}
    try:
        run([installed / "hm", "up"], **home)
        listed = json.loads(run([installed / "hm", "asset", "ls", "--output", "json"], **home))
        kinds = {each["kind"]: each for each in listed["items"]}
        assert {"cpu", "memory"} <= set(kinds)
        assert kinds["cpu"]["capacity"] <= len(os.sched_getaffinity(0)) * 1000
        assert all(each["enforcement"] for each in kinds.values())
    finally:
        run([installed / "hm", "down"], **home)
