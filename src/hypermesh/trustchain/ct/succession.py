"""The logs of a network one after the other: a log that ended is read, and another goes on.

    DIRECTORY/NUMBER/            one generation: its log of certificates and its log of acts
    DIRECTORY/NUMBER/ended       why it takes no entries any more

A copy of a log may be older than what the log has signed since, and its next entry would be a fork.
So a restored generation has ended, and the next number begins with other keys under another origin
(`ct.origin`).
"""

from __future__ import annotations

from pathlib import Path

from hypermesh.crypto.files import make_directory, replace
from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.origin import NUMBER_MAX

ENDED = "ended"


def secrets_prefix(number: int) -> str:
    """How the names of a generation's secrets begin. An SCT names its log by the key alone, so no
    key goes over from one to the next."""
    return f"ct-{number}"


def generations(directory: Path) -> list[int]:
    """The generations that are there, the oldest first."""
    if not directory.is_dir():
        return []
    names = (each.name for each in directory.iterdir() if each.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def present(directory: Path) -> int:
    """The generation that takes entries; the next one where the last has ended."""
    known = generations(directory)
    if not known:
        return 1
    last = known[-1]
    if ended(directory, last) is None:
        return last
    if last >= NUMBER_MAX:
        raise LogDamaged(f"{directory} has had {last} logs, and no number is left")
    return last + 1


def ended(directory: Path, number: int) -> str | None:
    """Why generation `number` has ended; None where it has not."""
    file = directory / str(number) / ENDED
    return file.read_text(errors="replace") if file.exists() else None


def end(directory: Path, number: int, why: str) -> None:
    """End generation `number` for good; durable when this returns. The first reason stays."""
    place = directory / str(number)
    if ended(directory, number) is None:
        make_directory(place, 0o700)
        replace(place / ENDED, why.encode())


def end_all(directory: Path, why: str) -> None:
    """End every generation that is there."""
    for number in generations(directory):
        end(directory, number, why)
