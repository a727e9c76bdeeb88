"""`hm config`: where each setting comes from."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hypermesh.cli.command import Group, Tolerant, data_option, output_option


@click.group(cls=Group)
def config() -> None:
    """Show where each setting comes from.

    The first that names a key wins: an option, HYPERMESH_* in the environment, hypermesh.toml of
    the project, the user's config.toml, the system's, what the node has kept, the default.
    """


@config.command("show", example="hm config show --origin")
@click.option("--origin", is_flag=True, help="Also which layer said so, and where.")
@data_option
@output_option
def config_show(origin: bool, data: Path | None, output: str) -> None:
    """Show every key with the value that counts."""
    from hypermesh.cli.output import emit, table
    from hypermesh.node import layers
    from hypermesh.sdk.location import data_directory

    settled = layers.configured()
    context = click.get_current_context()
    if context.get_parameter_source("data") is click.core.ParameterSource.COMMANDLINE:
        flag = layers.Setting(str(data_directory(data)), layers.Layer.FLAG, "--data")
        settled = layers.merge([settled, {"data": flag}])
    if context.get_parameter_source("output") is click.core.ParameterSource.COMMANDLINE:
        flag = layers.Setting(output, layers.Layer.FLAG, "--output")
        settled = layers.merge([settled, {"output": flag}])
    found = layers.complete(settled, data_directory(data))
    rows = [
        {"key": key, "value": each.value, "layer": each.layer.value, "where": each.where}
        for key, each in found.items()
    ]
    shown = [
        {
            "key": row["key"],
            "value": row["value"],
            **({"origin": f"{row['layer']}  {row['where']}".rstrip()} if origin else {}),
        }
        for row in rows
    ]
    emit(rows, output, table(shown, ""))


@config.command("path", cls=Tolerant, example="hm config path")
@output_option
def config_path(output: str) -> None:
    """Show which files are read, the stronger first."""
    from hypermesh.cli.output import emit, table
    from hypermesh.node import layers

    rows = [
        {"layer": layer.value, "file": str(file), "there": file.exists()}
        for layer, file in layers.files(layers.working_directory(), os.environ)
    ]
    shown = [{**row, "there": "yes" if row["there"] else "no"} for row in rows]
    emit(rows, output, table(shown, ""))
