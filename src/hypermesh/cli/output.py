"""What a command prints: a table for people, JSON for programs; errors in three parts.

`json` is one indented document, `jsonl` one compact line: of a list, a line for each item. Every
document and every line carries `schema_version`, so that a line means the same wherever it ends up.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.asset import UNIT, AssetKind
from hypermesh.wire.errors import HyperMeshError

SCHEMA_VERSION = 1
WAIT_SHOWN_MIN = 0.01

Emission = tuple[object, str]
"""A value, and the table made of it."""

_COMMANDS = re.compile(
    "(?!\x1b\\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What a terminal obeys: control characters but colours, tabs and line ends, and what turns the
direction of writing."""

_taken: list[Emission] | None = None


def emit(value: object, output: str, table: str) -> None:
    """Print `value` as JSON where asked for, else the `table` made of it."""
    table = printable(table)
    if _taken is not None:
        _taken.append((value, table))
    elif output == "json":
        click.echo(document(value))
    elif output == "jsonl":
        for line in lines(value):
            click.echo(line)
    else:
        click.echo(table)


def emit_ids(ids: Iterable[str]) -> None:
    """Print ids, one a line; nothing where there are none. What `--quiet` asks for."""
    found = list(ids)
    if _taken is not None:
        _taken.append((found, "\n".join(found)))
        return
    for each in found:
        click.echo(each)


@contextlib.contextmanager
def taking() -> Iterator[list[Emission]]:
    """Within it, `emit` adds to the list in place of printing. For one command at a time."""
    global _taken
    before, _taken = _taken, []
    try:
        yield _taken
    finally:
        _taken = before


def document(value: object) -> str:
    """`value` as one indented JSON document."""
    return msgspec.json.format(_encoded(_body(value)), indent=2).decode()


def line(value: object) -> str:
    """`value` as one document on one line."""
    return _encoded(_body(value)).decode()


def lines(value: object) -> list[str]:
    """The items of a list or of a page on a line each; anything else on one line."""
    items = _body(value).get("items")
    if not isinstance(items, list):
        return [line(value)]
    return [_encoded(each if isinstance(each, dict) else {"item": each}).decode() for each in items]


def _body(value: object) -> dict[str, Any]:
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, dict) else {"items": plain}


def _encoded(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"schema_version": SCHEMA_VERSION, **body})


def printable(text: str) -> str:
    """`text` without what a terminal would obey: much of it was written by other nodes."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text)


def table(rows: Sequence[Mapping[str, Any]], empty: str) -> str:
    """Aligned columns, headed by the keys of the first row; `empty` where there are no rows."""
    if not rows:
        return empty
    columns = list(rows[0])
    cells = [[name.upper() for name in columns]]
    cells += [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    widths = [max(len(each[place]) for each in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)).rstrip()
        for each in cells
    )


def facts(pairs: Mapping[str, object]) -> str:
    """One fact a line."""
    width = max(len(name) for name in pairs)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in pairs.items())


def complain(error: HyperMeshError, output: str) -> None:
    """Say on stderr what happened, why, and how to fix it."""
    if output == "json":
        click.echo(document(ProblemDetails.of(error)), err=True)
        return
    if output == "jsonl":
        click.echo(line(ProblemDetails.of(error)), err=True)
        return
    said = [f"Error: {error.what}  [{error.code}]"]
    if error.why:
        said.append(f"  why: {error.why}")
    if error.fix:
        said.append(f"  fix: {error.fix}")
    click.echo(printable("\n".join(said)), err=True)


def moment(time_ms: int) -> str:
    """A time in the zone of this machine, to the second."""
    local = datetime.fromtimestamp(time_ms / 1000, tz=UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S")


def amount(count: int | None, kind: AssetKind) -> str | None:
    """A number of units of an asset for people."""
    if count is None:
        return None
    unit = UNIT.get(kind, "")
    if unit == "byte":
        return size(count)
    if unit == "millicore":
        return f"{count / 1000:g} core" + ("" if count == 1000 else "s")
    if unit == "bit/s":
        return rate(count)
    return f"{count} {unit}".rstrip()


def rate(bits: int) -> str:
    """A number of bits a second for people, in powers of ten as networks have it."""
    scaled, units = float(bits), ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]
    while scaled >= 1000 and len(units) > 1:
        scaled /= 1000
        units.pop(0)
    return f"{scaled:g} {units[0]}"


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1024:
        return f"{count} B"
    scaled, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while scaled >= 1024 and len(units) > 1:
        scaled /= 1024
        units.pop(0)
    return f"{scaled:.1f} {units[0]}"


def waits(shares: Mapping[str, float]) -> str:
    """What a connection has waited for, the largest share of its time first; without those of less
    than one per cent."""
    ranked = sorted(shares.items(), key=lambda share: -share[1])
    shown = [f"{bound} {share:.0%}" for bound, share in ranked if share >= WAIT_SHOWN_MIN]
    return ", ".join(shown).replace("%", " %")
