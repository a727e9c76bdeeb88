"""The reference says what the code says: it is generated, and a change of either is noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hypermesh.cli.main import LISTED, main
from hypermesh.node import layers
from hypermesh.node.api.permissions import PERMISSIONS
from hypermesh.node.layers import Layer
from hypermesh.node.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "reference.py"), "--check", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_current() -> None:
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["cli", "api", "sdk", "errors", "metrics", "configuration"])
def test_a_change_is_noticed(page: str, tmp_path: Path) -> None:
    copy = shutil.copytree(REFERENCE, tmp_path / "reference")
    changed = copy / f"{page}.md"
    changed.write_text(changed.read_text() + "One line more.\n")
    done = check("--to", str(copy))
    assert done.returncode == 1
    assert f"{page}.md" in done.stdout


def commands(group: click.Group, context: click.Context) -> list[str]:
    found = []
    for name in group.list_commands(context):
        each = group.get_command(context, name)
        assert each is not None
        below = click.Context(each, info_name=name, parent=context)
        found.append(below.command_path)
        if isinstance(each, click.Group):
            found += commands(each, below)
    return found


def test_nothing_is_left_out() -> None:
    cli = (REFERENCE / "cli.md").read_text()
    listed = commands(main, click.Context(main, info_name="hm"))
    assert len(listed) > len([each for section in LISTED.values() for each in section])
    assert [name for name in listed if f"# {name}\n" not in cli] == []

    api = (REFERENCE / "api.md").read_text()
    undescribed = {("GET", "/v1/openapi.json")}
    paths = set(PERMISSIONS) - undescribed
    assert {path for path in paths if f"## {path[0]} {path[1]}\n" not in api} == set()

    metrics = (REFERENCE / "metrics.md").read_text()
    counted = {
        line.split()[2]
        for line in Metrics().exposition().decode().splitlines()
        if line.startswith("# TYPE") and not line.split()[2].endswith("_created")
    }
    assert {name for name in counted if f"`{name}`" not in metrics} == set()


def test_the_example_of_a_configuration_is_one() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    example = text.partition("```toml config.toml\n")[2].partition("```")[0]
    assert layers.of_text(example, Layer.USER, Path("config.toml"))
