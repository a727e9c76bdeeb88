"""What commands print for programs."""

from __future__ import annotations

import json

import msgspec
import pytest

from hypermesh.cli import output
from hypermesh.wire.asset import AssetKind
from hypermesh.wire.errors import Conflict


class Page(msgspec.Struct):
    items: list[dict[str, int]]
    next_cursor: str | None = None


ITEMS = [{"a": 1}, {"a": 2}]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit(ITEMS, "json", "unused")
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "items": ITEMS}


@pytest.mark.parametrize("value", [ITEMS, Page(ITEMS)])
def test_jsonl_has_an_item_a_line(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    output.emit(value, "jsonl", "unused")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"schema_version": 1, **each} for each in ITEMS]
    assert all(" " not in line for line in lines)


def test_jsonl_of_one_thing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"b": {"c": 3}}, "jsonl", "unused")
    assert capsys.readouterr().out == '{"schema_version":1,"b":{"c":3}}\n'


def test_jsonl_of_nothing_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit([], "jsonl", "unused")
    assert capsys.readouterr().out == ""


def test_ids_alone(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit_ids(["ab", "cd"])
    output.emit_ids([])
    assert capsys.readouterr().out == "ab\ncd\n"


def test_what_is_taken_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with output.taking() as taken:
        output.emit(ITEMS, "table", "a table")
        output.emit_ids(["ab"])
    output.emit(1, "table", "printed")
    assert taken == [(ITEMS, "a table"), (["ab"], "ab")]
    assert capsys.readouterr().out == "printed\n"


@pytest.mark.parametrize(
    ("count", "kind", "words"),
    [
        (5_000_000_000, AssetKind.NETWORK, "5 Gbit/s"),
        (1_500, AssetKind.NETWORK, "1.5 kbit/s"),
        (999, AssetKind.NETWORK, "999 bit/s"),
        (1 << 30, AssetKind.MEMORY, "1.0 GiB"),
        (1000, AssetKind.CPU, "1 core"),
        (500, AssetKind.CPU, "0.5 cores"),
    ],
)
def test_amounts_are_in_units_of_people(count: int, kind: AssetKind, words: str) -> None:
    assert output.amount(count, kind) == words


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_problem_is_one_too(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.complain(Conflict("No", why="because", fix="do"), form)
    said = capsys.readouterr().err
    details = json.loads(said)
    assert (details["schema_version"], details["code"], details["fix"]) == (1, "HM-0006", "do")
    assert (said.count("\n") == 1) == (form == "jsonl")


HOSTILE = "bob\x1b]0;root\x07\x1b[2J\x9b1A\u202etxt\r0 CAES\x00"


def test_what_others_wrote_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({}, "table", f"\x1b[32mok\x1b[0m\t{HOSTILE}\nnext")
    output.complain(Conflict(HOSTILE, why=HOSTILE, fix=HOSTILE), "table")
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "bob\ufffd]0;root\ufffd\ufffd[2J\ufffd1A\ufffdtxt\ufffd0 CAES\ufffd" in text
        assert not set(text) & set("\x07\x9b\u202e\r\x00")
    # Colours, tabs and line ends are ours.
    assert output.printable("\x1b[32mok\x1b[0m\ta\nb") == "\x1b[32mok\x1b[0m\ta\nb"
    output.emit(HOSTILE, "jsonl", "unused")
    assert "\x1b" not in capsys.readouterr().out
