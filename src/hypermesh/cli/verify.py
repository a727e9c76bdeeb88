"""`hm verify`: check a receipt or a proof of delivery offline. No node and no network is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from hypermesh.cli.command import Tolerant, output_option

if TYPE_CHECKING:
    from hypermesh.assets.receipt_check import Verdict


class _Check(Protocol):
    """One thing that was checked."""

    @property
    def what(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def ok(self) -> bool: ...


@click.command(
    cls=Tolerant,
    example="hm verify receipt.json\n"
    "hm verify receipt.json --genesis ID\n"
    "hm verify delivered.json report.pdf",
)
@click.argument("file", type=click.File("rb"))
@click.argument(
    "content", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--genesis", metavar="ID", default=None, help="The network that it must be of.")
@output_option
@click.pass_context
def verify(
    context: click.Context,
    file: BinaryIO,
    content: Path | None,
    genesis: str | None,
    output: str,
) -> None:
    """Check a receipt or a proof of delivery, offline.

    FILE is from `hm lease receipt`, `hm send --proof` or `hm inbox proof`; `-` is standard input.
    With a proof of delivery, CONTENT is the file that it shall be about.

    Each line is one thing that was checked. Exit code 0 where all of it holds, else 9. Without
    --genesis the network is the one that the document states: whoever made it could have made a
    network, too. `hm status` shows the id of yours.
    """
    from hypermesh.assets.receipt import ReceiptInvalid, read
    from hypermesh.assets.receipt_check import verify_receipt
    from hypermesh.cli.output import emit
    from hypermesh.stoq.delivery_document import is_document
    from hypermesh.wire.api.receipt import RECEIPT_BYTES_MAX
    from hypermesh.wire.errors import InvalidInput
    from hypermesh.wire.ids import parse_hex

    pinned = None if genesis is None else parse_hex(genesis, 32, "genesis id")
    text = file.read(RECEIPT_BYTES_MAX + 1)
    if is_document(text):
        _verify_delivery(context, text, content, pinned, output)
        return
    if content is not None:
        raise InvalidInput("A receipt is about no file", fix="Give its document alone")
    verdict = verify_receipt(read(text), pinned)
    emit({"ok": verdict.ok, **_plain(verdict)}, output, _lines(verdict))
    if not verdict.ok:
        context.exit(ReceiptInvalid.exit_code)


def _verify_delivery(
    context: click.Context, text: bytes, content: Path | None, genesis: bytes | None, output: str
) -> None:
    import dataclasses

    from hypermesh.cli.output import emit, facts, moment, printable, size
    from hypermesh.stoq.delivery import DeliveryInvalid
    from hypermesh.stoq.delivery_document import read, verify_document
    from hypermesh.stoq.transfer.sender import file_root

    document = read(text)
    root = None if content is None else file_root(content)
    verdict = verify_document(document, genesis, root)
    said = facts(
        {
            "file": f"{printable(document.name)}, {size(document.size)}",
            "blake3": document.root,
            "from": document.sender,
            "to": document.receiver,
            "at": moment(document.time_ms),
            "network": verdict.network,
            "verdict": _summed(verdict.checks),
        }
    )
    lines = "\n".join([*_checks(verdict.checks), "", said])
    emit({"ok": verdict.ok, **dataclasses.asdict(verdict)}, output, lines)
    if not verdict.ok:
        context.exit(DeliveryInvalid.exit_code)


def _checks(checks: Sequence[_Check]) -> list[str]:
    lines = []
    for check in checks:
        lines.append(f"{'ok    ' if check.ok else 'FAILED'}  {check.what}: {check.rule}")
        if not check.ok:
            lines.append(f"        {check.why}")
    return lines


def _summed(checks: Sequence[_Check]) -> str:
    failed, count = sum(not check.ok for check in checks), len(checks)
    return f"{failed} of {count} checks failed" if failed else f"all {count} checks hold"


def _plain(verdict: Verdict) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(verdict)


def _lines(verdict: Verdict) -> str:
    lines = _checks(verdict.checks)
    lines += [
        "",
        f"genesis  {verdict.genesis}",
        f"trust    {verdict.trust}",
        f"verdict  {_summed(verdict.checks)}",
    ]
    return "\n".join(lines)
