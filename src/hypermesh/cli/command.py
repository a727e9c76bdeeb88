"""What every command of `hm` shares: options, the connection to the node, how it says a failure.

Modules of commands import at their top only what parsing a command line needs; the rest comes when
a command runs, so that `hm --help` and completion stay quick.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.errors import HyperMeshError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


class Command(click.Command):
    """A command that fails in three parts, or as a problem object under `--output json`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        given = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if not _json_asked(given):
                raise
            from hypermesh.cli.output import complain
            from hypermesh.wire.errors import InvalidInput

            path = error.ctx.command_path if error.ctx else "hm"
            complain(InvalidInput(error.format_message(), fix=f"See `{path} --help`"), "json")
            raise click.exceptions.Exit(InvalidInput.exit_code) from error

    def invoke(self, ctx: click.Context) -> Any:
        from hypermesh.wire.errors import HyperMeshError

        output = ctx.params.get("output") or "table"
        try:
            return super().invoke(ctx)
        except (click.UsageError, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except Exception as error:
            hung_up = isinstance(error, OSError) and error.errno == errno.EPIPE
            if hung_up or ctx.find_root().params.get("debug"):
                raise
            from hypermesh.cli.output import complain

            known = error if isinstance(error, HyperMeshError) else _unforeseen(error)
            complain(known, output)
            ctx.exit(known.exit_code)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def output_option(command: Decorated) -> Decorated:
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="A table for people, or JSON with a schema version.",
    )(command)


def data_option(command: Decorated) -> Decorated:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The node's data directory (else $HYPERMESH_DATA, else the user's own).",
    )(command)


def mesh(data: Path | None) -> Mesh:
    """A connection to the node of `data`."""
    from hypermesh.sdk.mesh import connect

    return connect(data)


def say(words: str, output: str) -> None:
    """Words for people on stderr, kept from programs."""
    if output == "table":
        click.echo(words, err=True)


class Quantity(click.ParamType[int]):
    """A number with a unit."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _json_asked(arguments: Sequence[str]) -> bool:
    return "--output=json" in arguments or ("--output", "json") in itertools.pairwise(arguments)


def _unforeseen(error: Exception) -> HyperMeshError:
    from hypermesh.wire.errors import HyperMeshError, InvalidInput

    if isinstance(error, click.ClickException):
        return InvalidInput(error.format_message())
    return HyperMeshError(
        "hm itself failed",
        why=f"{type(error).__name__}: {error}",
        fix="`hm --debug ...` shows where; please report it",
    )
