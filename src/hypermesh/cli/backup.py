"""`hm backup | restore`: a whole node in one sealed file."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, Decorated, data_option, output_option, say

if TYPE_CHECKING:
    from hypermesh.node.backup import Manifest

PASSPHRASE_VARIABLE = "HYPERMESH_BACKUP_PASSPHRASE"
PASSPHRASE_BYTES_MAX = 1024


def passphrase_option(command: Decorated) -> Decorated:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=f"Its first line is the passphrase (else ${PASSPHRASE_VARIABLE}, else it is asked).",
    )(command)


@click.command(cls=Command, example="hm backup desk.hm\nhm restore desk.hm")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@passphrase_option
@data_option
@output_option
def backup(file: Path, passphrase_file: Path | None, data: Path | None, output: str) -> None:
    """Write the whole node to FILE, sealed by a passphrase.

    The node may run meanwhile. Without the passphrase nobody can read the file, you included.
    """
    from hypermesh.cli.output import emit, size
    from hypermesh.node.backup import back_up
    from hypermesh.node.configuration import Configuration
    from hypermesh.sdk.location import data_directory

    directory = data_directory(data)
    options = ("name", "share", "level", "stoq_host", "stoq_port")
    name = Configuration.of(directory, **dict.fromkeys(options)).settings.name
    passphrase = _passphrase(passphrase_file, confirm=True)
    manifest = back_up(directory, file, passphrase, name, time.time_ns() // 1_000_000)
    written = f"{file} ({size(file.stat().st_size)}, sealed)"
    emit(_shown(manifest), output, f"{_words(manifest)}\nIt is in {written}.")


@click.command(cls=Command, example="hm restore desk.hm\nhm up")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@passphrase_option
@data_option
@output_option
def restore(file: Path, passphrase_file: Path | None, data: Path | None, output: str) -> None:
    """Bring the node of FILE back, on this machine.

    It has the identity of the one that was backed up: only one of the two may ever run again.
    """
    from hypermesh.cli.output import emit
    from hypermesh.node import backup as backups
    from hypermesh.sdk.location import data_directory

    directory = data_directory(data)
    passphrase = _passphrase(passphrase_file, confirm=False)
    manifest = backups.restore(file, directory, passphrase, time.time_ns() // 1_000_000)
    emit(_shown(manifest), output, f"{_words(manifest)}\nIt is in {directory}.")
    # Under the name that was given: the plain one may start the very node that must not run again.
    there = "" if data is None else f" --data {shlex.quote(str(directory))}"
    say(f"Make sure that the node it was made from never runs again. Next: hm up{there}", output)


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    from hypermesh.wire.errors import InvalidInput

    if file is not None:
        with file.open("rb") as opened:
            line = opened.read(PASSPHRASE_BYTES_MAX).split(b"\n")[0]
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"The first line of {file} is no text", why=str(error)) from error
    if given := os.environ.get(PASSPHRASE_VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise InvalidInput(
            "There is nobody to ask for the passphrase",
            fix=f"Set {PASSPHRASE_VARIABLE}, or name a file with --passphrase-file",
        )
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))


def _shown(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "node": manifest.node.hex(),
        "owner": manifest.owner.hex(),
        "genesis": manifest.genesis.hex(),
        "is_founder": manifest.is_founder,
        "height": manifest.height,
        "created_ms": manifest.created_ms,
        "files": [each.path for each in manifest.entries],
        "bytes": sum(each.size for each in manifest.entries),
    }


def _words(manifest: Manifest) -> str:
    from hypermesh.cli.output import moment, size

    role = "founder" if manifest.is_founder else "follower"
    held = size(sum(each.size for each in manifest.entries))
    return (
        f"{manifest.name} ({manifest.node.hex()[:16]}), {role} of network "
        f"{manifest.genesis.hex()[:16]}, as of {moment(manifest.created_ms)}: "
        f"ledger at height {manifest.height}, {len(manifest.entries)} files, {held}"
    )
