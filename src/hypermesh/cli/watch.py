"""`--watch`: a reading command shown again whenever what it shows has changed.

On a terminal the table is redrawn in place; anywhere else each change is one JSON line that holds
all of it, so that the last line is the whole present state. What the node cannot be asked for is
never left standing as if it were current.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click

from hypermesh.cli.command import mesh
from hypermesh.cli.output import Emission, complain, line, taking
from hypermesh.wire.errors import HyperMeshError, Unreachable

POLL_S = 1.0
REST_S = 0.25
"""Between two looks, however much happens."""
KINDS = ("block", "job")
"""Whatever changes on the ledger changes with a block."""
LOST_S_MAX = 60.0
"""How long it waits for a node that answered before; a restart is well within."""

_HOME = "\x1b[H"
_REST_OF_LINE = "\x1b[K"
_REST_OF_SCREEN = "\x1b[J"
_CLEAR = "\x1b[2J"


def follow(show: Callable[[], object], output: str, data: Path | None) -> None:
    """Run `show`, which emits, again and again until interrupted.

    The first failure ends it, as does a node that stays away for `LOST_S_MAX`.
    """
    draw = _Screen() if output == "table" and sys.stdout.isatty() else _Lines(output)
    with Changes(data) as changes:
        draw(_emitted(show))
        lost_s: float | None = None
        while True:
            changes.wait(POLL_S)
            try:
                emitted = _emitted(show)
            except HyperMeshError as error:
                if error.exit_code != Unreachable.exit_code:
                    raise
                now_s = time.monotonic()
                lost_s = now_s if lost_s is None else lost_s
                if now_s - lost_s > LOST_S_MAX:
                    raise
                draw.lost(error)
                continue
            lost_s = None
            draw(emitted)


class Changes:
    """Says when to look again: when the node tells of an event, and once in a while, for times
    elapse and some figures make no event. Where the node tells of none, only the latter."""

    def __init__(self, data: Path | None) -> None:
        self._data = data
        self._changed = threading.Event()

    def __enter__(self) -> Changes:
        # It waits on its connection when the command ends, and ends with the process.
        threading.Thread(target=self._listen, name="events", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        """Return when something has changed, at the latest after `timeout_s`."""
        time.sleep(REST_S)
        self._changed.wait(timeout_s - REST_S)
        self._changed.clear()

    def _listen(self) -> None:
        with contextlib.suppress(HyperMeshError), mesh(self._data) as here:
            for _ in here.events(kinds=KINDS):
                self._changed.set()


class _Screen:
    """A terminal."""

    def __init__(self) -> None:
        self._shown: str | None = None

    def __call__(self, emitted: list[Emission]) -> None:
        self._draw("\n".join(table for _, table in emitted))

    def lost(self, error: HyperMeshError) -> None:
        self._draw(f"{error.what}  [{error.code}]\n  why: {error.why}\n\nTrying again ...")

    def _draw(self, text: str) -> None:
        columns, rows = shutil.get_terminal_size()
        fitting = "\n".join(f"{each[:columns]}{_REST_OF_LINE}" for each in _top(text, rows - 1))
        if fitting != self._shown:
            start = _HOME + _CLEAR if self._shown is None else _HOME
            click.echo(f"{start}{fitting}\n{_REST_OF_SCREEN}", nl=False, color=True)
            self._shown = fitting


def _top(text: str, rows: int) -> list[str]:
    lines = text.splitlines()
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], f"... {len(lines) - rows + 1} more"]


class _Lines:
    """A pipe, a file, or a program that asked for JSON."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._shown: list[str] = []
        self._is_lost = False

    def __call__(self, emitted: list[Emission]) -> None:
        self._is_lost = False
        now = [line(value) for value, _ in emitted]
        if now != self._shown:
            for each in now:
                click.echo(each)
            self._shown = now

    def lost(self, error: HyperMeshError) -> None:
        if not self._is_lost:
            complain(error, self._output)
            self._is_lost, self._shown = True, []


def _emitted(show: Callable[[], object]) -> list[Emission]:
    with taking() as emitted:
        show()
    return emitted
