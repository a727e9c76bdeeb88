"""`hm`: start nodes, join them, and use what they share.

What there is stands here in one table, so that the overview and completion import no command; a
command's module is imported when it is called or asked for help. A test compares the two.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

import click

from hypermesh.cli.command import HELP_COLUMNS, Group, Quantity


@dataclass(frozen=True, slots=True)
class Listed:
    """One command as the overview shows it: `help` is the first line of its own."""

    name: str
    module: str
    help: str


LISTED: dict[str, tuple[Listed, ...]] = {
    "This machine": (
        Listed("up", "node", "Start the node of this machine."),
        Listed("join", "node", "Join a network by TOKEN (from `hm invite`)."),
        Listed("status", "node", "Show this node in one look."),
        Listed("ui", "ui", "Open the dashboard in a browser, signed in."),
        Listed("down", "node", "Stop the node of this machine."),
        Listed("doctor", "doctor.command", "Find what is wrong with this machine or its node."),
        Listed("config", "config", "Show where each setting comes from."),
        Listed("backup", "backup", "Write the whole node to FILE, sealed by a passphrase."),
        Listed("restore", "backup", "Bring the node of FILE back, on this machine."),
    ),
    "The pool": (
        Listed("invite", "node", "Print a token with which one machine may join."),
        Listed("node", "nodes", "Show the nodes of the network."),
        Listed("net", "net", "Show the connections of this node."),
        Listed("asset", "asset", "Show what the pool has, share it, sell it."),
        Listed("cert", "certificate", "Show certificates: who may take part, until when."),
        Listed("dns", "dns", "Show the names of the mesh, and who answers for them."),
        Listed("trust", "trust", "Let other networks in; have programs believe a root."),
        Listed("token", "token", "Let programs elsewhere use this node."),
    ),
    "Using it": (
        Listed("lease", "lease", "Show and end leases."),
        Listed("memory", "memory", "Put bytes into another machine's memory."),
        Listed("job", "job", "Run programs in other machines' sandboxes."),
        Listed("parcel", "parcel", "Send messages to nodes that need not be up now."),
        Listed("tunnel", "tunnel", "Carry local sockets to services of other nodes."),
        Listed("stoq", "stoq", "Use a stoq-server: the transport alone, without a mesh."),
        Listed("send", "send", "Send files into the inbox of another node."),
        Listed("transfer", "transfer", "Show and cancel what is being sent from here."),
        Listed("inbox", "inbox", "Show the files that other nodes sent here."),
    ),
    "The ledger": (
        Listed("wallet", "wallet", "Show the owner's account."),
        Listed("block", "block", "Show the blocks of the ledger."),
        Listed("tx", "tx", "Show transactions of the ledger."),
        Listed("verify", "verify", "Check a receipt or a proof of delivery, offline."),
        Listed("events", "events", "Follow what happens, until Ctrl-C."),
    ),
    "Learning": (
        Listed("explain", "explain", "Explain a receipt's figures, or an error code."),
        Listed("try-to-cheat", "cheat", "Attack your own mesh, and see each attempt refused."),
        Listed("demo", "demo.command", "Run three nodes on this machine through it all."),
        Listed("completion", "completion", "Print the script that completes `hm` in a shell."),
    ),
}

EXAMPLES = """\
hm up                    start a node here (and found a network)
hm invite --mine         let another of my machines in
hm join TOKEN            join from there
hm asset ls              what the pool has
hm job run primes.py     run something in it"""


class Hm(Group):
    """Knows its commands by the table alone."""

    group_class: type[click.Group] | type[type] | None = Group

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [each.name for section in LISTED.values() for each in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        for each in (each for section in LISTED.values() for each in section):
            if each.name == cmd_name:
                module = importlib.import_module(f"hypermesh.cli.{each.module}")
                command: click.Command = getattr(module, cmd_name.replace("-", "_"))
                return command
        return None

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(each.name, help=each.help)
            for section in LISTED.values()
            for each in section
            if each.name.startswith(incomplete)
        ]
        # Past `Group`, which would import every command to ask whether it is hidden.
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # `Group` looks for what is near among commands that are loaded.
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def overview(self, context: click.Context) -> str:
        """What there is, by purpose, on less than a screen."""
        text = context.make_formatter()
        text.write(f"{self.help}\n\n")
        write_examples(text)
        width = max(map(len, LISTED))
        for purpose, section in LISTED.items():
            names = "  ".join(each.name for each in section)
            text.write(f"  {purpose.ljust(width)}   {names}\n")
        text.write("\n`hm COMMAND --help` explains one; `hm --help` has a line on each.\n")
        return text.getvalue().rstrip("\n")

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter)
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for purpose, section in LISTED.items():
            with formatter.section(purpose):
                formatter.write_dl([(each.name, each.help) for each in section])


def write_examples(formatter: click.HelpFormatter) -> None:
    for each in EXAMPLES.splitlines():
        formatter.write(f"  {each}\n")
    formatter.write("\n")


def _duration(text: str) -> int:
    from hypermesh.wire.quantity import parse_duration

    return max(1, parse_duration(text))


def _without_color(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Also where `NO_COLOR` says so (no-color.org); where output is no terminal there is none."""
    del option
    if given or os.environ.get("NO_COLOR"):
        context.color = False


@click.group(
    cls=Hm,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": HELP_COLUMNS,
    },
)
@click.version_option(package_name="hypermesh", prog_name="hm")
@click.option(
    "--timeout", type=Quantity("duration", _duration), help="Give up after, say, 10s (with 7)."
)
@click.option(
    "--no-color",
    is_flag=True,
    expose_value=False,
    callback=_without_color,
    help="No colors on a terminal (as $NO_COLOR).",
)
@click.option("--debug", is_flag=True, help="Show where a failure happened.")
@click.pass_context
def main(context: click.Context, debug: bool, timeout: int | None) -> None:
    """Your own machines, and other people's, as one pool."""
    del debug, timeout
    if context.invoked_subcommand is None and isinstance(context.command, Hm):
        click.echo(context.command.overview(context))


if __name__ == "__main__":
    main()
