"""The table of commands says what the commands say, and each explains itself by an example."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import click
import pytest

import hypermesh.cli
from hypermesh.cli.command import HELP_COLUMNS, Command, output_option
from hypermesh.cli.main import LISTED, Listed, main

WITHOUT_OUTPUT = {
    "cert bundle": "what it prints is a document of its own",
    "demo": "a show for people; `--report` is its JSON",
    "lease receipt": "what it prints is a document of its own",
    "stoq connect": "what it prints is what the service says",
}

ROWS = [each for section in LISTED.values() for each in section]


def every(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """All commands below `command` that do something."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for each in command.list_commands(context):
        below = command.get_command(context, each)
        assert below is not None
        yield from every(below, f"{name} {each}".strip())


ALL = dict(every(main, ""))


def faults(name: str, command: click.Command) -> list[str]:
    """What a command lacks."""
    found = []
    if not isinstance(command, Command):
        return [f"{name} is no `command.Command`"]
    if f"hm {name}" not in command.example:
        found.append(f"{name} has no example")
    options = {option for each in command.params for option in each.opts}
    if "--output" not in options and name not in WITHOUT_OUTPUT:
        found.append(f"{name} has no --output")
    if not command.help:
        found.append(f"{name} says nothing of itself")
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_table_agrees_with_the_module(row: Listed) -> None:
    command = main.get_command(click.Context(main), row.name)
    assert command is not None
    assert command.name == row.name
    assert (command.help or "").splitlines()[0] == row.help
    assert len(row.help) <= 60


def test_no_name_is_there_twice() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_every_command_that_a_module_has_can_be_typed() -> None:
    reached = set(map(id, ALL.values()))
    for module in pkgutil.walk_packages(hypermesh.cli.__path__, "hypermesh.cli."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Command):
                assert id(value) in reached, f"{module.name}.{name}"


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_and_an_output(name: str) -> None:
    assert faults(name, ALL[name]) == []


@pytest.mark.parametrize("name", ["", *ALL])
def test_help_begins_with_the_example_and_fits(name: str) -> None:
    command = ALL.get(name, main)
    context = click.Context(command, info_name=f"hm {name}".strip(), max_content_width=HELP_COLUMNS)
    context.terminal_width = HELP_COLUMNS
    lines = command.get_help(context).splitlines()
    assert [line for line in lines if len(line) > HELP_COLUMNS] == []
    assert lines[0].startswith("  $ ") or (name == "" and lines[0].startswith("  hm "))


def test_the_checks_can_fail() -> None:
    @click.command("frob", cls=Command)
    def frob() -> None:
        pass

    @click.command("frob", cls=Command, example="hm frob")
    @output_option
    def good() -> None:
        """Frob."""

    assert faults("frob", frob) == [
        "frob has no example", "frob has no --output", "frob says nothing of itself"
    ]  # fmt: skip
    assert faults("frob", good) == []
    assert faults("frob", click.Command("frob")) == ["frob is no `command.Command`"]


@pytest.mark.parametrize(
    "name",
    [
        "status", "asset ls", "lease ls", "lease show", "memory ls", "job ls", "node ls",
        "wallet show", "block ls",
    ],
)  # fmt: skip
def test_what_reads_can_be_watched(name: str) -> None:
    options = {option for each in ALL[name].params for option in each.opts}
    assert "--watch" in options
    # A block has no id that anybody would type.
    assert "--quiet" in options or not name.endswith(" ls") or name == "block ls"


def refused_defaults(command: click.Command) -> list[str]:
    """Options whose default their own type refuses; click looks only when the command runs."""
    context = click.Context(command)
    refused = []
    for option in command.params:
        default = option.get_default(context)
        if isinstance(option, click.Option) and isinstance(default, str | int | float):
            try:
                option.type_cast_value(context, default)
            except click.BadParameter as error:
                refused.append(f"{option.opts[0]}: {error.message}")
    return refused


@pytest.mark.parametrize("name", ALL)
def test_defaults_are_what_their_options_take(name: str) -> None:
    assert refused_defaults(ALL[name]) == []


def test_a_default_that_is_refused_is_noticed() -> None:
    option = click.Option(["--for"], type=click.IntRange(1, 5), default=9)
    assert refused_defaults(click.Command("planted", params=[option]))
