"""`hm verify`: check a receipt offline. No node and no network is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from hypermesh.cli.command import Tolerant, output_option

if TYPE_CHECKING:
    from hypermesh.assets.receipt_check import Verdict


@click.command(cls=Tolerant, example="hm verify receipt.json\nhm verify receipt.json --genesis ID")
@click.argument("file", type=click.File("rb"))
@click.option("--genesis", metavar="ID", default=None, help="The network that it must be of.")
@output_option
@click.pass_context
def verify(context: click.Context, file: BinaryIO, genesis: str | None, output: str) -> None:
    """Check a receipt, offline.

    FILE is from `hm lease receipt`; `-` is standard input.

    Each line is one thing that was checked. Exit code 0 where all of it holds, else 9. Without
    --genesis the network is the one that the document states: whoever made it could have made a
    network, too. `hm status` shows the id of yours.
    """
    from hypermesh.assets.receipt import ReceiptInvalid, read
    from hypermesh.assets.receipt_check import verify_receipt
    from hypermesh.cli.output import emit
    from hypermesh.wire.api.receipt import RECEIPT_BYTES_MAX
    from hypermesh.wire.ids import parse_hex

    pinned = None if genesis is None else parse_hex(genesis, 32, "genesis id")
    verdict = verify_receipt(read(file.read(RECEIPT_BYTES_MAX + 1)), pinned)
    emit({"ok": verdict.ok, **_plain(verdict)}, output, _lines(verdict))
    if not verdict.ok:
        context.exit(ReceiptInvalid.exit_code)


def _plain(verdict: Verdict) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(verdict)


def _lines(verdict: Verdict) -> str:
    lines = []
    for check in verdict.checks:
        lines.append(f"{'ok    ' if check.ok else 'FAILED'}  {check.what}: {check.rule}")
        if not check.ok:
            lines.append(f"        {check.why}")
    failed, count = sum(not check.ok for check in verdict.checks), len(verdict.checks)
    said = f"{failed} of {count} checks failed" if failed else f"all {count} checks hold"
    lines += [
        "",
        f"genesis  {verdict.genesis}",
        f"trust    {verdict.trust}",
        f"verdict  {said}",
    ]
    return "\n".join(lines)
