"""Settings that are read again while the server runs: all of them are obeyed, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypermesh.standalone.trust.application import WithAcme
from hypermesh.standalone.trust.guard import Guard
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.settings import Settings
from hypermesh.wire.errors import HyperMeshError

if TYPE_CHECKING:
    from hypermesh.standalone.trust.acme import Acme


@dataclass(frozen=True, slots=True)
class Rereading:
    """What of a running server obeys other settings. `acme`: its ACME server and where requests
    reach it, where it has one."""

    parts: Parts
    guards: Sequence[Guard]
    acme: tuple[WithAcme, Acme] | None

    async def change(self, settings: Settings) -> None:
        """Obey `settings` from now on. Raises `SettingsFixed` where they need a restart, and what
        the parts raise; then the ones before stay."""
        before = self.parts.settings
        await self._obey(settings)
        if self.acme is None:
            return
        served, server = self.acme
        try:
            if server.is_changed():
                await served.replace(server.change)
        except HyperMeshError:
            await self._obey(before)
            raise

    async def _obey(self, settings: Settings) -> None:
        await asyncio.to_thread(self.parts.change, settings)
        for guard in self.guards:
            guard.change(settings)
