"""`hm try-to-cheat`: attack the own mesh, and see what catches it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, data_option, mesh, output_option, say
from hypermesh.cli.completion import complete_attempts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.api.attempt import AttemptResult, AttemptView

EXIT_THROUGH = 9
HEX_COLUMNS = 64


@click.command(
    "try-to-cheat",
    cls=Command,
    example="hm try-to-cheat\nhm try-to-cheat overspend --edit",
)
@click.argument("names", nargs=-1, shell_complete=complete_attempts)
@click.option("--edit", is_flag=True, help="Change the bytes in $EDITOR before they are sent.")
@data_option
@output_option
def try_to_cheat(names: tuple[str, ...], edit: bool, data: Path | None, output: str) -> None:
    """Attack your own mesh, and see each attempt refused.

    Forged proofs, a replay, an overspend, more CPU than was leased, memory after its lease, a
    revoked node, a tampered block: each is carried out for real, or the NAMES alone. Ends with 9 if
    anything gets through.
    """
    from hypermesh.cli.output import emit

    with mesh(data) as here:
        chosen = _chosen(list(here.attempts.list()), names)
        results: list[AttemptResult] = []
        for attempt in chosen:
            if attempt.unavailable:
                say(_not_tried(attempt), output)
                continue
            content = _edited(attempt) if edit else None
            results.append(_run(here, attempt, content))
            if output == "table":
                click.echo(_line(results[-1]))
    through = [each for each in results if not each.refused]
    emit(results, output, _summary(len(results), len(chosen) - len(results), len(through)))
    if through:
        sys.exit(EXIT_THROUGH)


def _chosen(known: Sequence[AttemptView], names: tuple[str, ...]) -> Sequence[AttemptView]:
    from hypermesh.wire.errors import NotFound

    by_name = {each.name: each for each in known}
    if unknown := sorted(set(names) - set(by_name)):
        raise NotFound(
            f"There is no attempt {unknown[0]!r}",
            why=f"there are {', '.join(by_name)}",
            fix="Name some of these, or none for all",
        )
    return [by_name[name] for name in dict.fromkeys(names)] or known


def _run(here: Mesh, attempt: AttemptView, content: bytes | None) -> AttemptResult:
    from hypermesh.wire.errors import HyperMeshError

    try:
        return here.attempts.run(attempt.name, content)
    except HyperMeshError as error:
        error.why = f"during {attempt.name}: {error.why or error.what}"
        raise


def _edited(attempt: AttemptView) -> bytes | None:
    """What the user makes of the bytes: as text where they are text, else as hexadecimal digits.
    None where the editor was left without saving."""
    from hypermesh.wire.errors import InvalidInput

    content = bytes.fromhex(attempt.content)
    text = _text(content)
    shown = text if text is not None else textwrap.fill(attempt.content, HEX_COLUMNS) + "\n"
    edited = click.edit(shown, extension=".txt")
    if edited is None:
        return None
    if text is not None:
        return edited.encode()
    try:
        return bytes.fromhex("".join(edited.split()))
    except ValueError as error:
        raise InvalidInput(
            "What was saved is no sequence of bytes",
            why=str(error),
            fix="Keep to pairs of hexadecimal digits; white space does not count",
        ) from error


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or text.replace("\n", "").isprintable() else None


def _line(result: AttemptResult) -> str:
    verdict = "refused" if result.refused else "GOT THROUGH"
    code = f"  [{result.code}]" if result.code else ""
    where = f", in block {result.height}" if result.height is not None else ""
    return (
        f"{result.title}: {verdict}{code} after {result.took_ms:.0f} ms{where}\n"
        f"  what:   {result.what}\n"
        f"  tried:  {result.facts}\n"
        f"  reason: {result.reason}\n"
        f"  rule:   {result.rule}\n"
    )


def _not_tried(attempt: AttemptView) -> str:
    return (
        f"{attempt.title}: not tried\n  what:   {attempt.what}\n  reason: {attempt.unavailable}\n"
    )


def _summary(tried: int, left_out: int, through: int) -> str:
    rest = f", {left_out} not tried here" if left_out else ""
    if through:
        return f"{through} of {tried} attempts got through{rest}."
    return f"{tried} attempts, {tried} refused{rest}."
