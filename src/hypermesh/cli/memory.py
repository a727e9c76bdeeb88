"""`hm memory`: bytes in another machine's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hypermesh.cli.command import (
    Group,
    data_option,
    mesh,
    output_option,
    quiet_option,
    watch_option,
)

READ_BYTES = 8 << 20
"""How much `get` holds at a time."""


@click.group(cls=Group)
def memory() -> None:
    """Put bytes into another machine's memory."""


@memory.command("ls", example="hm memory ls\nhm memory ls --watch")
@watch_option
@quiet_option
@data_option
@output_option
def memory_ls(quiet: bool, data: Path | None, output: str) -> None:
    """List the memory that this owner has leased from others, newest first.

    What it lends to others is in `hm lease ls`.
    """
    from hypermesh.cli.output import emit, emit_ids, moment, size, table
    from hypermesh.wire.asset import AssetKind, LeaseState

    with mesh(data) as here:
        owner = here.network.status().owner
        found = [
            each
            for each in here.leases.list()
            if each.kind is AssetKind.MEMORY
            and each.consumer == owner
            and each.state is LeaseState.ACTIVE
        ]
    if quiet:
        emit_ids(each.address for each in found)
        return
    rows = [
        {
            "lease": each.lease[:16],
            "size": size(each.amount),
            "host": each.provider_name or each.provider[:16],
            "until": moment(each.end_ms),
            "address": each.address,
        }
        for each in found
    ]
    emit(found, output, table(rows, "No memory is leased; `hm memory put` leases some."))


@memory.command("put", example="hm memory put hm://ADDRESS photo.jpg")
@click.argument("address")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--minutes", default=10, type=click.IntRange(1, 1440), help="Length of the lease.")
@data_option
@output_option
def memory_put(address: str, file: Any, minutes: int, data: Path | None, output: str) -> None:
    """Put FILE (or stdin) into memory at ADDRESS.

    Leases what the bytes need, in place of what was put there before.
    """
    from hypermesh.cli.output import emit, moment, size

    content = file.read()
    with mesh(data) as here:
        lease = here.memory.put(address, content, duration_ms=minutes * 60_000)
    emit(
        lease,
        output,
        f"{size(len(content))} at {address} until {moment(lease.end_ms)}, lease {lease.lease[:16]}",
    )


@memory.command("get", example="hm memory get hm://ADDRESS photo.jpg")
@click.argument("address")
@click.argument("file", type=click.File("wb"), default="-")
@click.option("--offset", default=0, type=click.IntRange(0), help="Where to begin.")
@click.option("--length", default=None, type=click.IntRange(1), help="Default: to the end.")
@data_option
@output_option
def memory_get(
    address: str, file: Any, offset: int, length: int | None, data: Path | None, output: str
) -> None:
    """Get the bytes put at ADDRESS into FILE (or stdout)."""
    from hypermesh.cli.output import emit, size
    from hypermesh.wire.errors import InvalidInput

    if output != "table" and file.name == "<stdout>":
        raise InvalidInput("The bytes and the JSON cannot both go to stdout", fix="Name a FILE")
    with mesh(data) as here, here.memory.open(address) as region:
        end = len(region) if length is None else offset + length
        if not offset < end <= len(region):
            raise InvalidInput(
                f"Bytes {offset} to {end} are not there", why=f"there are {len(region)}"
            )
        for start in range(offset, end, READ_BYTES):
            file.write(region.read(start, min(READ_BYTES, end - start)))
        lease = region.lease
    if file.name != "<stdout>":
        count = end - offset
        told = {"address": lease.address, "lease": lease.lease, "offset": offset, "bytes": count}
        emit(told, output, f"{size(count)} from {address} in {file.name}")
