"""Who answers for the mesh's names, as this node was last told: kept over restarts."""

from __future__ import annotations

from pathlib import Path

from hypermesh.crypto.files import replace
from hypermesh.node.kept import read
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Conflict

DEFAULT = Phase.LEDGER_ONLY
"""A node asks nobody outside unless it is told whom."""


class UpstreamMissing(Conflict):
    """In this phase traditional DNS has a say, and no server is configured that could be asked."""

    code = "HM-DNS-0021"
    title = "There is no DNS server to ask"
    remedy = "Set dns.upstream to its address, as [2001:db8::53]:53, and start the node anew"


class KeptPhase:
    """The phase in one file."""

    def __init__(self, file: Path) -> None:
        """Raises `FileDamaged`."""
        self._file = file
        self._phase = DEFAULT
        if file.exists():
            self._phase = read(Phase, file, f"Remove it: the phase is then {DEFAULT.value} again")

    @property
    def phase(self) -> Phase:
        return self._phase

    def keep(self, phase: Phase) -> None:
        """Durable when this returns. One caller at a time."""
        replace(self._file, encode(phase))
        self._phase = phase


def require_possible(phase: Phase, *, has_upstream: bool) -> None:
    """Raise `UpstreamMissing` where `phase` asks traditional DNS and nobody could be asked."""
    if phase is not Phase.LEDGER_ONLY and not has_upstream:
        raise UpstreamMissing
