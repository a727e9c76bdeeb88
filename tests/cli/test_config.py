"""`hm config`, and that commands heed it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .shell import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without a node, with a project in the working directory."""
    machine = Machine(tmp_path, "nowhere")
    (tmp_path / "config" / "hypermesh").mkdir(parents=True)
    return machine


def user_file(machine: Machine) -> Path:
    return machine.directory / "config" / "hypermesh" / "config.toml"


def project_file(machine: Machine) -> Path:
    return machine.directory / "hypermesh.toml"


def shown(machine: Machine, *words: str) -> dict[str, tuple[object, str, str]]:
    items = machine.json("config", "show", *words)["items"]
    return {each["key"]: (each["value"], each["layer"], each["where"]) for each in items}


def test_every_layer_wins_over_those_below(machine: Machine) -> None:
    assert shown(machine)["name"][1] == "default"
    user_file(machine).write_text("name = 'user'\n[stoq]\nport = 4433\n")
    assert shown(machine)["name"] == ("user", "user", f"{user_file(machine)}:1")
    project_file(machine).write_text("\nname = 'project'\n")
    assert shown(machine)["name"] == ("project", "project", f"{project_file(machine)}:2")
    assert shown(machine)["stoq.port"] == (4433, "user", f"{user_file(machine)}:3")
    machine.variables["HYPERMESH_NAME"] = "variable"
    assert shown(machine)["name"] == ("variable", "environment", "HYPERMESH_NAME")
    assert shown(machine)["data"] == (str(machine.data), "environment", "HYPERMESH_DATA")
    assert shown(machine, "--data", "/x")["data"] == ("/x", "flag", "--data")


def test_the_table_tells_origins_where_asked(machine: Machine) -> None:
    user_file(machine).write_text("name = 'user'\n")
    plain = machine.succeeds("config", "show").stdout.decode().splitlines()
    assert plain[0].split() == ["KEY", "VALUE"]
    assert ["name", "user"] in [line.split() for line in plain]
    told = machine.succeeds("config", "show", "--origin").stdout.decode()
    assert ["name", "user", "user", f"{user_file(machine)}:1"] in [
        line.split() for line in told.splitlines()
    ]


def test_where_it_looks(machine: Machine) -> None:
    rows = machine.json("config", "path")["items"]
    assert [row["layer"] for row in rows] == ["user", "system"]
    project_file(machine).write_text("[")
    # It is there for the day on which the configuration is broken.
    rows = machine.json("config", "path")["items"]
    assert rows[0] == {"layer": "project", "file": str(project_file(machine)), "there": True}


def test_a_mistake_ends_commands_with_3(machine: Machine) -> None:
    project_file(machine).write_text("[stoq]\nprot = 1\n")
    for words in (("status",), ("config", "show"), ("asset", "ls"), ("up",)):
        said = machine.fails(*words, exit_code=3)
        assert f"{project_file(machine)}:2: unknown key 'stoq.prot'; did you mean" in said
    assert not machine.data.exists()


def test_a_project_cannot_lead_to_other_keys(machine: Machine) -> None:
    project_file(machine).write_text("data = '/tmp/elsewhere'\n")
    assert "may not set 'data'" in machine.fails("status", exit_code=3)


def test_a_stranger_cannot_leave_a_project_file(machine: Machine) -> None:
    project_file(machine).write_text("name = 'x'\n")
    project_file(machine).chmod(0o666)
    assert "not trusted" in machine.fails("status", exit_code=3)


def test_output_and_data_are_heeded(machine: Machine) -> None:
    project_file(machine).write_text("output = 'jsonl'\n")
    done = machine.hm("status")
    assert json.loads(done.stderr)["code"] == "HM-SDK-0001"
    assert "Error: No node" in machine.fails("status", "--output", "table", exit_code=7)
    machine.variables["HYPERMESH_DATA"] = ""
    elsewhere = machine.directory / "elsewhere"
    user_file(machine).write_text(f"data = '{elsewhere}'\n")
    assert str(elsewhere) in json.loads(machine.hm("status").stderr)["cause"]


def test_a_node_starts_as_configured_and_keeps_what_it_declared(machine: Machine) -> None:
    user_file(machine).write_text("name = 'configured'\nshare = '7%'\n[log]\nlevel = 'debug'\n")
    try:
        status = machine.json("up", "--tls-port", "0")
        assert status["name"] == "configured"
        assert shown(machine)["share"] == ("7%", "kept", str(machine.data / "settings.json"))
        user_file(machine).write_text("share = '9%'\n")
        assert machine.json("up")["pid"] == status["pid"]
        assert shown(machine)["share"][:2] == ("7%", "kept")
        assert "declared its share" in machine.fails("up", "--share", "9%", exit_code=6)
    finally:
        machine.hm("down")
