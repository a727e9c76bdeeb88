"""An ACME server as a process of its own, over TLS on a socket that it is given.

The socket is the test's: it outlives a killed server, so the next one has the same URL.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from hypermesh.trustchain.acme.policy import Policy, Validation
from hypermesh.trustchain.acme.server import AcmeServer
from hypermesh.trustchain.acme.sqlite import SqliteStore
from hypermesh.trustchain.acme.store import Store

sys.path.insert(0, str(Path(__file__).parent))

from authority import SmallAuthority


class Quiet(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


def opened(directory: Path, database: str | None) -> Store:
    if database is None:
        return SqliteStore(directory)
    from hypermesh.postgresql.place import Place
    from hypermesh.trustchain.acme.postgresql import PostgresqlStore

    return PostgresqlStore(Place(database))


async def main() -> None:
    told = json.loads(sys.argv[1])
    directory = Path(told["directory"])
    store = opened(directory / "store", told["database"])
    loopback = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    validation = Validation(
        resolver="127.0.0.1",
        resolver_port=told["dns_port"],
        http_port=told["http_port"],
        allowed=loopback,
        # As many as no test waits for, however slow its machine.
        pauses_s=(0.2, 0.5, 1.0, *(2.0,) * 60),
        timeout_s=30.0,
    )
    policy = Policy(
        told["url"],
        external_account_required=told["external_account_required"],
        caa_identities=("ca.test",),
        validation=validation,
    )
    server = AcmeServer(store, SmallAuthority(directory / "authority"), policy)
    await server.start()
    if told["external_account_required"]:
        binding = await server.accounts.new_binding("test")
        Path(told["ready"]).write_text(json.dumps([binding.kid, binding.secret]))  # noqa: ASYNC240
    config = uvicorn.Config(
        server.application,
        log_level="error",
        lifespan="off",
        ssl_certfile=told["certificate"],
        timeout_graceful_shutdown=5,
    )
    web = Quiet(config)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: setattr(web, "should_exit", True)
    )
    await web.serve(sockets=[socket.socket(fileno=told["fd"])])
    await server.close()
    store.close()


asyncio.run(main())
