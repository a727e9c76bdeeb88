"""`hm send`: files to other nodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import (
    EXIT_INTERRUPTED,
    Command,
    data_option,
    mesh,
    output_option,
    say,
)

if TYPE_CHECKING:
    from hypermesh.sdk.transfer import Sent
    from hypermesh.wire.api.transfer import DeliveryDocument, TransferView


@click.command(
    cls=Command,
    example="hm send report.pdf desktop\n"
    "hm send a.tar b.tar 27bd3398 --detach\n"
    "hm send report.pdf desktop --proof delivered.json",
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--proof",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the proof of delivery to this file, for `hm verify`.",
)
@click.option("--detach", is_flag=True, help="Print the ids and leave the rest to the node.")
@data_option
@output_option
def send(
    files: tuple[Path, ...],
    address: str,
    proof: Path | None,
    detach: bool,
    data: Path | None,
    output: str,
) -> None:
    """Send files into the inbox of another node.

    ADDRESS is a node's name, its id or the beginning of it (`hm node ls`), or an address of
    something that it hosts (`hm asset ls`). What the receiver has already is not sent, and what was
    cut off goes on where it was. Ctrl-C cancels; what has arrived waits there for another time.
    """
    from hypermesh.cli.output import emit
    from hypermesh.wire.errors import InvalidInput

    if proof is not None and (detach or len(files) > 1):
        raise InvalidInput(
            "A proof is of one file that has been delivered",
            fix="Send one file at a time, without --detach; or: hm transfer proof ID",
        )
    with mesh(data) as here:
        views: list[TransferView] = []
        for file in files:
            sent = here.transfer.submit(file, address)
            if not detach:
                _attend(sent, output)
                say(_ending(sent.view), output)
            if proof is not None:
                write_proof(sent.proof(), proof)
                say(f"The proof is in {proof}; check it anywhere: hm verify {proof}", output)
            views.append(sent.view)
    shown = "\n".join(each.transfer for each in views) if detach else ""
    if detach or output != "table":
        emit(views[0] if len(views) == 1 else views, output, shown)


def write_proof(document: DeliveryDocument, file: Path) -> None:
    """As `hm verify` reads it."""
    import msgspec

    file.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def _attend(sent: Sent, output: str) -> None:
    """Show a transfer until it is over."""
    from hypermesh.cli.output import printable

    bar = _Bar(output == "table" and sys.stderr.isatty())
    told = ""
    try:
        for view in sent.progress():
            trouble = view.problem.detail if view.problem is not None else ""
            if view.ended_ms is None and trouble and trouble != told:
                bar.clear()
                to = printable(view.to_name)
                say(f"{to}: {trouble}. The node goes on trying; Ctrl-C cancels it.", output)
                told = trouble
            bar.draw(view)
    except KeyboardInterrupt:
        bar.clear()
        sent.cancel()
        say(f"Cancelled: {sent.view.name}", output)
        sys.exit(EXIT_INTERRUPTED)
    bar.clear()
    failure = sent.view.failure
    if failure is not None:
        raise failure


def _ending(view: TransferView) -> str:
    from hypermesh.cli.output import printable, size

    took = max(1, (view.ended_ms or view.submitted_ms) - view.submitted_ms) / 1000
    known = view.size - view.moved
    saved = f", {size(known)} of it was there" if known else ""
    name, to = printable(view.name), printable(view.to_name)
    return f"{name}: {size(view.size)} to {to} in {took:.1f} s{saved}\nblake3 {view.root}"


class _Bar:
    """One line on a terminal, drawn anew in its place; nothing elsewhere."""

    WIDTH = 30

    def __init__(self, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._length = 0

    def draw(self, view: TransferView) -> None:
        if not self._is_shown:
            return
        from hypermesh.cli.output import printable, size

        share = view.done / view.size if view.size else 1.0
        full = round(share * self.WIDTH)
        line = (
            f"{printable(view.name)[:30]} [{'#' * full}{'.' * (self.WIDTH - full)}] {share:4.0%} "
            f"of {size(view.size)}"
        )
        click.echo(f"\r{line.ljust(self._length)}", nl=False, err=True)
        self._length = len(line)

    def clear(self) -> None:
        if self._length:
            click.echo(f"\r{' ' * self._length}\r", nl=False, err=True)
            self._length = 0
