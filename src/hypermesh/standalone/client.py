"""A client of a server that runs alone: its keys, the pins it knows, connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypermesh.crypto.files import replace
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.standalone.authority import Certificates, own_keys
from hypermesh.standalone.errors import PinChanged, ServerUnknown
from hypermesh.standalone.peers import Server, parse_known
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.stoq.tunnel import service_id
from hypermesh.wire.codec import Undecodable, decode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import AssetId, Hash
from hypermesh.wire.rpc import ALPN_ENROL, ALPN_SESSION, SERVICE_CONTROL


def directory(given: Path | None) -> Path:
    """Where the keys are: as given, else `HYPERMESH_STOQ`, else in the user's data (XDG)."""
    if given is not None:
        return given.expanduser().absolute()
    if named := os.environ.get("HYPERMESH_STOQ"):
        return Path(named).expanduser().absolute()
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser().absolute() / "hypermesh-stoq"


class Client:
    """Dials one server. It closes with `close`."""

    def __init__(self, data: Path, server: Server, pin: Hash | None) -> None:
        """`pin` is needed once and kept when the server has answered. Raises `ServerUnknown`,
        `PinChanged`."""
        self._known = data / "known_servers"
        self.server = server
        self.keys: QuantumKeys = own_keys(data)
        known = self._pins().get(server)
        if pin is None and known is None:
            raise ServerUnknown(f"The pin of {server} is not known")
        if pin is not None and known is not None and pin != known:
            raise PinChanged(
                why=f"{self._known} has {known.hex()[:16]}..., not {pin.hex()[:16]}..."
            )
        self.pin: Hash = pin or known or b""
        self._endpoint = Endpoint.bind(
            "::",
            policy=TrustPolicy(network=self.pin),
            identity=Identity.of_keys(self.keys),
            stack=Stack.DUAL if server.is_ipv4 else Stack.IPV6,
        )
        self._checked = False

    def connect(self) -> Connection:
        """A new connection. Raises a `PeerRefused` where one side does not accept the other."""
        if not self._checked:
            self._learn()
        connection = self._endpoint.connect(*self.server, alpn=ALPN_SESSION)
        if not self._checked:
            self._checked = True
            self._keep()
        return connection

    def service(self, connection: Connection, name: str) -> AssetId:
        """The id of the service that the server offers under `name`."""
        return service_id(self.pin, connection.peer_id, name)

    def close(self) -> None:
        self._endpoint.close()

    def _learn(self) -> None:
        """Ask the server for its certificates, over a connection that its root already vouches
        for, and hold them against the pin."""
        with self._endpoint.connect(
            *self.server, alpn=ALPN_ENROL, root_sha256=self.pin
        ) as connection:
            answer = connection.request(SERVICE_CONTROL, b"")
        try:
            certificates = decode(Certificates, answer)
        except Undecodable as error:
            raise InvalidInput(
                "The server does not say its certificates", why=str(error)
            ) from error
        if certificates.pin != self.pin:
            raise PinChanged
        self._endpoint.set_policy(
            TrustPolicy(
                network=self.pin,
                roots=[certificates.root],
                issuers=[certificates.issuing],
                version=1,
            )
        )

    def _pins(self) -> dict[Server, Hash]:
        if not self._known.exists():
            return {}
        return parse_known(self._known.read_text(), str(self._known))

    def _keep(self) -> None:
        if self.server not in self._pins():
            before = self._known.read_text() if self._known.exists() else ""
            replace(self._known, f"{before}{self.server} {self.pin.hex()}\n".encode())


@contextmanager
def connected(data: Path, server: Server, pin: Hash | None) -> Iterator[tuple[Client, Connection]]:
    """A client and a connection of it."""
    client = Client(data, server, pin)
    try:
        with client.connect() as connection:
            yield client, connection
    finally:
        client.close()
