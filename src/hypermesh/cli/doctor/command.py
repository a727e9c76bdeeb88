"""`hm doctor`: what is wrong, and how to put it right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Tolerant, data_option, output_option

if TYPE_CHECKING:
    from hypermesh.cli.doctor.checks import Result

UNHEALTHY = 1
_COLORS = {"ok": "green", "note": "blue", "warn": "yellow", "fail": "red"}


@click.command(cls=Tolerant, example="hm doctor\nhm doctor --output json")
@click.option("--all", "show_all", is_flag=True, help="Also the checks that found nothing.")
@data_option
@output_option
def doctor(show_all: bool, data: Path | None, output: str) -> None:
    """Find what is wrong with this machine or its node.

    It changes nothing, and needs no running node. Each fault comes with its fix. Ends with 0 where
    all is well (notes are no faults), and with 1 where there is a warning or a failure.
    """
    from hypermesh.cli.doctor.checks import examine, is_healthy
    from hypermesh.cli.doctor.collect import collect
    from hypermesh.cli.output import emit
    from hypermesh.sdk.location import data_directory

    results = examine(collect(data_directory(data)))
    healthy = is_healthy(results)
    if output == "jsonl":
        emit(results, output, "")
    else:
        report = {"healthy": healthy, "checks": results}
        emit(report, output, _report(results, show_all=show_all))
    if not healthy:
        sys.exit(UNHEALTHY)


def _report(results: list[Result], *, show_all: bool) -> str:
    """The worst first."""
    order = ["fail", "warn", "note", "ok"]
    shown = [each for each in results if show_all or each.state != "ok"]
    lines = []
    for each in sorted(shown, key=lambda result: order.index(result.state)):
        mark = click.style(f"{each.state:<4}", fg=_COLORS[each.state])
        lines.append(f"{mark}  {each.title}" + (f": {each.why}" if each.why else ""))
        lines += [f"      fix: {each.fix}"] if each.fix else []
    faults = sum(each.state in ("fail", "warn") for each in results)
    count = f"{faults} fault{'s' if faults != 1 else ''}" if faults else "All is well"
    return "\n".join([*lines, f"{count}; {len(results)} checks."])
