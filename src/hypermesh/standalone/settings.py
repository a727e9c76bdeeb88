"""What a server is told: flags, then a TOML file, then defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypermesh.standalone.errors import SettingsInvalid
from hypermesh.standalone.peers import PORT_DEFAULT, Server, parse_authorized, parse_server
from hypermesh.standalone.toml_file import parsed, read_text
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.threads import THREADS_MAX
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import Hash
from hypermesh.wire.tunnel import Place

AUTHORIZED = "authorized_peers"
SERVICES_MAX = 256
_KEYS = {"listen", "stack", "threads", "authorized_peers", "services"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to listen, with how many I/O threads (0: one a core), whom to let in, what to offer."""

    listen: Server
    stack: Stack
    threads: int
    authorized: Path
    services: dict[str, Place]

    def peers(self) -> frozenset[Hash]:
        """Those in the file of authorised peers; nobody where there is none."""
        if not self.authorized.exists():
            return frozenset()
        return parse_authorized(read_text(self.authorized, SettingsInvalid), str(self.authorized))


def settled(
    data: Path,
    config: Path | None,
    listen: str | None,
    offers: list[str],
    stack: str | None = None,
    threads: int | None = None,
) -> Settings:
    """The settings, checked. `offers` are `NAME=PLACE`. Raises `SettingsInvalid`,
    `InvalidInput`."""
    told = _read(config) if config is not None else {}
    services = {name: _place(name, to, config) for name, to in told.get("services", {}).items()}
    for each in offers:
        name, _, to = each.partition("=")
        services[name] = _place(name, to, None)
    if len(services) > SERVICES_MAX:
        raise SettingsInvalid(f"At most {SERVICES_MAX} services are offered")
    given = listen or told.get("listen") or f"[::]:{PORT_DEFAULT}"
    authorized = Path(told.get("authorized_peers") or data / AUTHORIZED).expanduser()
    if config is not None:
        authorized = config.parent / authorized
    spoken = stack or told.get("stack") or Stack.IPV6
    if spoken not in set(Stack):
        raise SettingsInvalid(f"stack is {spoken[:40]!r}", why=f"known: {', '.join(Stack)}")
    io = told.get("threads", 1) if threads is None else threads
    if not 0 <= io <= THREADS_MAX:
        raise SettingsInvalid(f"threads is {io}", why=f"0 (one a core) to {THREADS_MAX}")
    return Settings(parse_server(given), Stack(spoken), io, authorized, services)


def _read(file: Path) -> dict[str, Any]:
    told = parsed(read_text(file, SettingsInvalid), str(file), SettingsInvalid)
    for key in sorted(told.keys() - _KEYS):
        raise SettingsInvalid(f"{file}: there is no setting {key!r}", why=f"known: {sorted(_KEYS)}")
    strings = [told.get("listen", ""), told.get("stack", ""), told.get("authorized_peers", "")]
    table = told.get("services", {})
    if not isinstance(table, dict) or not all(
        isinstance(each, str) for each in [*strings, *table.values()]
    ):
        raise SettingsInvalid(
            f"{file}: a setting is not text",
            why='expected listen = "[::]:4433" and under [services] web = "tcp:[::1]:8080"',
        )
    if type(told.get("threads", 0)) is not int:
        raise SettingsInvalid(f"{file}: threads is not a whole number", why="expected threads = 4")
    return told


def _place(name: str, to: str, file: Path | None) -> Place:
    where = f"{file}: " if file else ""
    if not _NAME.fullmatch(name):
        raise SettingsInvalid(f"{where}{name!r} is no name of a service")
    try:
        return Place.parse(to)
    except InvalidInput as error:
        raise SettingsInvalid(f"{where}{name}: {error.what}", why=error.why) from error
