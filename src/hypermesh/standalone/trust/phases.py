"""In which phase each phased zone is: as it was switched last, else as the settings say.

A switch is stored as pending, recorded in the log of acts, and stored as done; then it is obeyed.
What a crash left pending is finished when the server starts, and may then be in the log twice.
Where the log refuses, it is withdrawn and nothing has happened. One file keeps all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hypermesh.crypto.files import replace
from hypermesh.standalone.trust.errors import PhaseImpossible, PhasesDamaged
from hypermesh.trustchain.dns.records import is_within, name_text
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.trustchain.evidence import Act, ActLog
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.errors import HyperMeshError, NotFound

SWITCH_KIND = "dns.phase"
"""The kind of act that a switch is."""


class Switch(msgspec.Struct, frozen=True, array_like=True):
    """The document of an act: the zone at `apex` (wire form) went from one phase to another."""

    apex: bytes
    before: Phase
    phase: Phase
    author: str
    at_ms: int


class Switched(msgspec.Struct, frozen=True, array_like=True):
    """A switch that is done; `leaf` is its index in the log of acts."""

    switch: Switch
    leaf: int


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    done: tuple[Switched, ...] = ()
    pending: Switch | None = None


Obey = Callable[[bytes, Phase], None]
"""Answers for a zone by a phase from then on."""


class Phases:
    """The phases of the zones at `apexes` (wire form, none below another). May be used from several
    threads; those that change something take turns."""

    def __init__(
        self,
        file: Path,
        acts: ActLog,
        now_ms: Callable[[], int],
        apexes: Sequence[bytes],
        initial: Phase,
    ) -> None:
        """`initial` holds for zones that were never switched. Raises `PhasesDamaged`,
        `LogUnavailable`."""
        self._file = file
        self._acts = acts
        self._now_ms = now_ms
        self._apexes = tuple(apexes)
        self._initial = initial
        self._lock = threading.Lock()
        kept = self._read()
        self._done = {each.switch.apex: each for each in kept.done}
        self._pending = kept.pending
        self._finish()

    @property
    def all(self) -> dict[bytes, Phase]:
        """The phase of each zone."""
        return {apex: self._phase(apex) for apex in self._apexes}

    def phase_of(self, owner: bytes) -> Phase | None:
        """The phase of the name `owner` (wire form); None where it is in no phased zone."""
        found = next((apex for apex in self._apexes if is_within(owner, apex)), None)
        return None if found is None else self._phase(found)

    def switched(self, apex: bytes) -> Switched | None:
        """The last switch of the zone; None where the settings rule."""
        return self._done.get(apex)

    def begin_with(self, initial: Phase, obey: Obey) -> None:
        """Have `initial` hold for zones that were never switched, and `obey` all phases."""
        with self._lock:
            self._initial = initial
            for apex, phase in self.all.items():
                obey(apex, phase)

    def switch(self, apex: bytes, phase: Phase, author: str, obey: Obey) -> Switched:
        """Go over to `phase`, durably, and then `obey`, before anybody else changes one. Raises
        `NotFound` for a zone that is not phased, `LogUnavailable`."""
        if apex not in self._apexes:
            raise NotFound(f"{name_text(apex)} is not phased", fix="Name it in phased in [dns]")
        with self._lock:
            if (left := self._finish()) is not None and left.switch.apex in self._apexes:
                obey(left.switch.apex, left.switch.phase)
            self._pending = Switch(apex, self._phase(apex), phase, author, self._now_ms())
            try:
                self._keep()
                done = self._finish()
            except HyperMeshError:
                self._pending = None
                self._keep()
                raise
            assert done is not None  # noqa: S101 - it is what was pending
            obey(apex, phase)
            return done

    def _finish(self) -> Switched | None:
        """Record what is pending and keep it as done. Where the disk fails in between, it stays
        pending: the log has it."""
        pending = self._pending
        if pending is None:
            return None
        [leaf] = self._acts.record([Act(SWITCH_KIND, encode(pending))])
        done = Switched(pending, leaf)
        before = self._done
        self._done, self._pending = before | {pending.apex: done}, None
        try:
            self._keep()
        except BaseException:
            self._done, self._pending = before, pending
            raise
        return done

    def _phase(self, apex: bytes) -> Phase:
        done = self._done.get(apex)
        return self._initial if done is None else done.switch.phase

    def _keep(self) -> None:
        replace(self._file, encode(_Kept(tuple(self._done.values()), self._pending)))

    def _read(self) -> _Kept:
        try:
            return decode(_Kept, self._file.read_bytes())
        except FileNotFoundError:
            return _Kept()
        except (Undecodable, OSError) as error:
            raise PhasesDamaged(f"{self._file} cannot be read", why=str(error)) from error


def require_possible(phase: Phase, *, has_upstream: bool) -> None:
    """Raise `PhaseImpossible` where other DNS has a say in `phase` and nobody could be asked."""
    if phase is not Phase.LEDGER_ONLY and not has_upstream:
        raise PhaseImpossible(f"In phase {phase.value} other servers are asked, and none is named")
