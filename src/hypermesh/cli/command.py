"""What every command of `hm` shares: options, the connection to the node, how it says a failure.

    @lease.command("ls", example="hm lease ls --all")
    @watch_option
    @quiet_option
    @data_option
    @output_option
    def lease_ls(...): ...

Modules of commands import at their top only what parsing a command line needs; the rest comes when
a command runs, so that `hm --help` and completion stay quick.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from types import FrameType

    from hypermesh.sdk.mesh import Mesh
    from hypermesh.wire.errors import HyperMeshError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

OUTPUTS = ("table", "json", "jsonl")
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
HELP_COLUMNS = 100


class Command(click.Command):
    """A command whose help begins with an example, and which fails in three parts, or as a problem
    object under `--output json` or `jsonl`."""

    reads_configuration = True
    """Whether a broken configuration file stops it."""

    def __init__(self, *arguments: Any, example: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_example(self.example, formatter)
        super().format_help(ctx, formatter)

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
            asked = _machine_output(given)
            if asked is None:
                raise
            from hypermesh.cli.output import complain
            from hypermesh.wire.errors import InvalidInput

            path = error.ctx.command_path if error.ctx else "hm"
            complain(InvalidInput(error.format_message(), fix=f"See `{path} --help`"), asked)
            raise click.exceptions.Exit(InvalidInput.exit_code) from error

    def invoke(self, ctx: click.Context) -> Any:
        from hypermesh.wire.errors import HyperMeshError

        root = ctx.find_root().params
        try:
            with _deadline(root.get("timeout")):
                self._configure(ctx)
                return super().invoke(ctx)
        except (click.UsageError, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except Exception as error:
            hung_up = isinstance(error, OSError) and error.errno == errno.EPIPE
            if hung_up or root.get("debug"):
                raise
            from hypermesh.cli.output import complain

            known = error if isinstance(error, HyperMeshError) else _unforeseen(error)
            complain(known, ctx.params.get("output") or "table")
            ctx.exit(known.exit_code)

    def _configure(self, ctx: click.Context) -> None:
        """Fill in what the command line left open: from the environment and the files."""
        parameters = ctx.params
        open_keys = [key for key in ("output", "data") if parameters.get(key, "") is None]
        if not open_keys:
            return
        from hypermesh.node import layers

        try:
            settled = layers.configured()
        except layers.ConfigurationInvalid:
            if self.reads_configuration:
                raise
            settled = {}
        if "output" in open_keys:
            parameters["output"] = layers.text(settled, "output") or "table"
        data = layers.text(settled, "data")
        if "data" in open_keys and data:
            parameters["data"] = Path(data)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class: type[click.Group] | type[type] | None = type


class Tolerant(Command):
    """A command that is there for the day on which the configuration is broken."""

    reads_configuration = False


def write_example(example: str, formatter: click.HelpFormatter) -> None:
    """The example on top, ready to be copied; one a line."""
    if example:
        for each in example.splitlines():
            formatter.write(f"  $ {each}\n")
        formatter.write("\n")


def output_option(command: Decorated) -> Decorated:
    return click.option(
        "--output",
        type=click.Choice(OUTPUTS),
        default=None,
        help="A table for people (the default), JSON, or a JSON document a line.",
    )(command)


def data_option(command: Decorated) -> Decorated:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The node's data directory (else $HYPERMESH_DATA, else the user's own).",
    )(command)


def quiet_option(command: Decorated) -> Decorated:
    """For lists: `quiet` asks for `output.emit_ids`."""
    return click.option("--quiet", "-q", is_flag=True, help="Only the ids, one a line.")(command)


def watch_option(command: Decorated) -> Decorated:
    """For commands that read and `emit` once: shows what they emit again whenever it changes."""

    @functools.wraps(command)
    def watched(*arguments: Any, watch: bool, **options: Any) -> Any:
        if not watch:
            return command(*arguments, **options)
        from hypermesh.cli.watch import follow

        return follow(
            lambda: command(*arguments, **options), options["output"], options.get("data")
        )

    return click.option(
        "--watch", is_flag=True, help="Show it again whenever it changes, until Ctrl-C."
    )(watched)  # type: ignore[return-value]


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


@contextlib.contextmanager
def _deadline(timeout_ms: int | None) -> Iterator[None]:
    """End what runs within it with `Unreachable` after `timeout_ms`.

    By a signal, because it bounds the whole command, whatever it waits for.
    """
    if timeout_ms is None:
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        from hypermesh.wire.errors import Unreachable

        del number, frame
        raise Unreachable(
            f"This was not done within {timeout_ms / 1000:g} s",
            why="`hm --timeout` set that limit",
            fix="What the node had begun goes on; give it longer, or look with `hm status`",
        )

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _machine_output(arguments: Sequence[str]) -> str | None:
    """Which JSON a command line asks for that cannot be parsed."""
    pairs = list(itertools.pairwise(arguments))
    for output in OUTPUTS[1:]:
        if f"--output={output}" in arguments or ("--output", output) in pairs:
            return output
    return None


def _unforeseen(error: Exception) -> HyperMeshError:
    from hypermesh.wire.errors import HyperMeshError, InvalidInput

    if isinstance(error, click.ClickException):
        return InvalidInput(error.format_message())
    return HyperMeshError(
        "hm itself failed",
        why=f"{type(error).__name__}: {error}",
        fix="`hm --debug ...` shows where; please report it",
    )
