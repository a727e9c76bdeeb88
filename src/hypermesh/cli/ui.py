"""`hm ui`: the dashboard of this machine's node."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hypermesh.cli.command import Command, data_option, mesh, output_option


@click.command(cls=Command, example="hm ui\nhm ui --print")
@click.option("--print", "only_print", is_flag=True, help="Print the address, open no browser.")
@data_option
@output_option
def ui(only_print: bool, data: Path | None, output: str) -> None:
    """Open the dashboard in a browser, signed in.

    The address that is printed has the session token in its fragment, which browsers keep to
    themselves. Whoever has it can use this node from this machine.
    """
    from hypermesh.cli.command import say
    from hypermesh.cli.output import emit
    from hypermesh.sdk.location import data_directory, session_token

    with mesh(data) as here:
        api = here.network.status().api
    address = f"{api}/#token={session_token(data_directory(data))}"
    emit({"url": address}, output, address)
    if only_print or output != "table":
        return
    if not _opened(address):
        say("No browser could be opened here; open the address in one on this machine.", output)


def _opened(address: str) -> bool:
    import webbrowser

    # Without a display the module finds text browsers, which would take over the terminal.
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(display) and webbrowser.open(address)
