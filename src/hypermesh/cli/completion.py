"""Completion in bash, zsh and fish: the scripts, and live ids from the node.

A shell asks with each press of the tab key, so this imports no more than it needs, waits for the
node no longer than people do, and says nothing where no node answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.command import Tolerant, output_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_HM_COMPLETE"
ANSWER_S = 0.3
ITEMS_MAX = 500
"""A page of the API; nobody chooses from more."""

_INSTALLATION = {
    "bash": "hm completion bash > ~/.local/share/bash-completion/completions/hm",
    "zsh": "hm completion zsh > ~/.zfunc/_hm   (with `fpath+=~/.zfunc` before `compinit`)",
    "fish": "hm completion fish > ~/.config/fish/completions/hm.fish",
}
_NOW = {
    "bash": 'eval "$(hm completion bash)"',
    "zsh": 'eval "$(hm completion zsh)"',
    "fish": "hm completion fish | source",
}

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


@click.command(cls=Tolerant, example='eval "$(hm completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@output_option
def completion(shell: str, output: str) -> None:
    """Print the script that completes `hm` in a shell.

    It completes commands, options and, while a node runs, the ids of assets, leases, jobs and
    nodes. The script says at its top how to install it.
    """
    from hypermesh.cli.output import emit

    script = _script(shell)
    emit({"shell": shell, "script": script}, output, script)


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from hypermesh.cli.main import main

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click completes no {shell}")
    source = kind(main, {}, "hm", VARIABLE).source().strip("\n")
    head = f"# Completion of hm in {shell}.\n# For good: {_INSTALLATION[shell]}"
    # zsh reads what a file of its function path completes from its first line.
    if source.startswith("#compdef"):
        first, _, rest = source.partition("\n")
        return f"{first}\n{head}\n# For this shell: {_NOW[shell]}\n{rest}"
    return f"{head}\n# For this shell: {_NOW[shell]}\n{source}"


def complete_assets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of assets, with kind and host. What is said of an id has no comma: fish splits there."""
    del param

    def item(row: dict[str, Any]) -> tuple[str, str]:
        return row["asset"], f"{row['kind']} on {row['host_name']}"

    return _items(ctx, "/assets", incomplete, item)


def complete_leases(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of leases, with kind and state."""
    del param
    return _items(
        ctx, "/v1/leases", incomplete, lambda row: (row["lease"], f"{row['kind']} {row['state']}")
    )


def complete_jobs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of jobs, with their state."""
    del param
    return _items(ctx, "/v1/jobs", incomplete, lambda row: (row["job"], str(row["state"])))


def complete_attempts(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of attempts at cheating, with what they are."""
    del param
    return _items(ctx, "/v1/attempts", incomplete, lambda row: (row["name"], str(row["title"])))


def complete_nodes(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of nodes, with their names."""
    del param
    return _items(ctx, "/v1/nodes", incomplete, lambda row: (row["node"], str(row["name"])))


def complete_parcels(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of received and sent parcels, with their state."""
    del param
    return [
        item
        for box in ("received", "sent")
        for item in _items(
            ctx,
            "/v1/stoq/parcels",
            incomplete,
            lambda row: (row["parcel"], str(row["state"])),
            {"box": box},
        )
    ]


def _items(
    ctx: click.Context,
    path: str,
    incomplete: str,
    item: Callable[[dict[str, Any]], tuple[str, str]],
    more: Mapping[str, str] | None = None,
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from hypermesh.sdk.call import Call
    from hypermesh.sdk.location import socket_path
    from hypermesh.sdk.rest import Rest
    from hypermesh.wire.errors import HyperMeshError

    try:
        rest = Rest(socket_path(_data(ctx)))
        query = {"limit": str(ITEMS_MAX), **(more or {})}
        answer: Any = rest.run(Call(object, "GET", path, query=query, timeout_s=ANSWER_S))
        rows = answer["items"] if isinstance(answer, dict) else answer
        found = [item(row) for row in rows]
    except (HyperMeshError, OSError, LookupError, TypeError):
        return []
    return [CompletionItem(id_, help=help_) for id_, help_ in found if id_.startswith(incomplete)]


def _data(ctx: click.Context) -> Path:
    from hypermesh.node import layers
    from hypermesh.sdk.location import data_directory

    given = ctx.params.get("data")
    if given is None and (named := layers.text(layers.configured(), "data")):
        given = Path(named)
    return data_directory(given)
