"""What a command prints: a table for people, JSON for programs; errors in three parts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from hypermesh.wire.errors import HyperMeshError

SCHEMA_VERSION = 1


def emit(value: object, output: str, table: str) -> None:
    """Print `value` as JSON where asked for, else the `table` made of it."""
    if output == "json":
        plain = msgspec.to_builtins(value)
        body = plain if isinstance(plain, dict) else {"items": plain}
        document = {"schema_version": SCHEMA_VERSION, **body}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        click.echo(table)


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


def complain(error: HyperMeshError) -> int:
    """Say on stderr what happened, why, and how to fix it; returns the exit code."""
    lines = [f"Error: {error.what}  [{error.code}]"]
    if error.why:
        lines.append(f"  why: {error.why}")
    if error.fix:
        lines.append(f"  fix: {error.fix}")
    click.echo("\n".join(lines), file=sys.stderr)
    return error.exit_code


def size(count: int | None) -> str | None:
    """A number of bytes for people."""
    if count is None:
        return None
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")
