"""What a command prints: a table for people, JSON for programs; errors in three parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from hypermesh.wire.api.problem import ProblemDetails
from hypermesh.wire.asset import UNIT, AssetKind
from hypermesh.wire.errors import HyperMeshError

SCHEMA_VERSION = 1


def emit(value: object, output: str, table: str) -> None:
    """Print `value` as JSON where asked for, else the `table` made of it."""
    if output == "json":
        click.echo(_document(value))
    else:
        click.echo(table)


def _document(value: object) -> str:
    plain = msgspec.to_builtins(value)
    body = plain if isinstance(plain, dict) else {"items": plain}
    document = {"schema_version": SCHEMA_VERSION, **body}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def table(rows: Sequence[Mapping[str, Any]], empty: str) -> str:
    """Aligned columns, headed by the keys of the first row; `empty` where there are no rows."""
    if not rows:
        return empty
    columns = list(rows[0])
    cells = [[name.upper() for name in columns]]
    cells += [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def facts(pairs: Mapping[str, object]) -> str:
    """One fact a line."""
    width = max(len(name) for name in pairs)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in pairs.items())


def complain(error: HyperMeshError, output: str) -> None:
    """Say on stderr what happened, why, and how to fix it."""
    if output == "json":
        click.echo(_document(ProblemDetails.of(error)), err=True)
        return
    lines = [f"Error: {error.what}  [{error.code}]"]
    if error.why:
        lines.append(f"  why: {error.why}")
    if error.fix:
        lines.append(f"  fix: {error.fix}")
    click.echo("\n".join(lines), err=True)


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
    return f"{count} {unit}".rstrip()


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1024:
        return f"{count} B"
    scaled, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while scaled >= 1024 and len(units) > 1:
        scaled /= 1024
        units.pop(0)
    return f"{scaled:.1f} {units[0]}"
