"""`stoq-server`: STOQ alone, in the foreground.

It echoes, measures, and carries tunnels to the targets it is told. SIGHUP reads settings and
authorised peers again; connections of those no longer in it end. At SIGTERM it takes nothing new,
which those who come are told, waits a while for what is open, and ends; a second one ends at
once.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypermesh import __version__
from hypermesh.standalone import perf
from hypermesh.standalone.authority import Authority
from hypermesh.standalone.client import directory
from hypermesh.standalone.errors import SettingsInvalid
from hypermesh.standalone.peers import parse_server
from hypermesh.standalone.plain import ALPN, PlainEcho, read_certificate
from hypermesh.standalone.settings import Settings, settled
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.request import Request
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.tunnel import LIMIT_DEFAULT, Tunnel, service_id
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound, Overloaded
from hypermesh.wire.ids import AssetId, Hash
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    ALPN_SESSION,
    SERVICE_CONTROL,
    SERVICE_PERF,
    SERVICE_TUNNEL,
)
from hypermesh.wire.tunnel import Opening, Place

RENEWAL_S = 8 * 60 * 60
"""A certificate is good for a day."""
POLL_MS = 200
MEASUREMENTS_MAX = 4
DRAIN_S_DEFAULT = 10

log = logging.getLogger("stoq-server")


class Server:
    """One server: `start`, then `serve` until `stop`."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self._authority = Authority(data, _now_s())
        self._bearers = settings.peers()
        self._gone: frozenset[Hash] = frozenset()
        """Those let in before and no longer: their connections end."""
        self._version = 0
        self._endpoint = Endpoint.bind(
            *settings.listen,
            policy=self._authority.policy(self._bearers, frozenset(), 0),
            identity=self._authority.identity(_now_s()),
            stack=settings.stack,
            threads=settings.threads,
        )
        self._renew_at = time.monotonic() + RENEWAL_S
        self._services: dict[AssetId, tuple[str, Place, Tunnel]] = {}
        self._offer(settings)
        self._measuring = threading.BoundedSemaphore(MEASUREMENTS_MAX)
        self._pool = ThreadPoolExecutor(MEASUREMENTS_MAX, thread_name_prefix="perf")
        self._stopping = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        return self._endpoint.address

    @property
    def key_id(self) -> Hash:
        return self._authority.keys.id

    @property
    def pin(self) -> Hash:
        return self._authority.pin

    def serve(self) -> None:
        """Answer until `stop`."""
        while not self._stopping.is_set():
            request = self._endpoint.next_request(POLL_MS)
            if request is not None:
                self._answer(request)
            for refusal in self._endpoint.refusals():
                log.warning("refused %s: %s", refusal.remote, refusal.error)
            if time.monotonic() > self._renew_at:
                self._endpoint.set_identity(self._authority.identity(_now_s()))
                self._renew_at = time.monotonic() + RENEWAL_S

    def change(self, settings: Settings) -> None:
        """Obey other settings, but for where to listen. Who is no longer let in is cut off."""
        bearers = settings.peers()
        self._offer(settings)
        self._gone = (self._gone | self._bearers) - bearers
        self._bearers = bearers
        self._let_in(bearers)

    def stop(self) -> None:
        """Take no more requests."""
        self._stopping.set()

    def drain(self, within_s: float, hurry: threading.Event) -> bool:
        """Take nothing new, which those who come are told, and wait for what is open, unless in a
        hurry. Whether all ended."""
        self._endpoint.drain(0)
        deadline = time.monotonic() + within_s
        while not hurry.is_set() and (left_s := deadline - time.monotonic()) > 0:
            while (request := self._endpoint.next_request(0)) is not None:
                self._answer(request)
            if self._endpoint.drain(min(POLL_MS, int(left_s * 1000) + 1)):
                return True
        return False

    def close(self) -> None:
        for _, _, tunnel in self._services.values():
            tunnel.close()
        self._endpoint.close("the server goes down")
        self._pool.shutdown()
        self._authority.close()

    def _let_in(self, bearers: frozenset[Hash]) -> None:
        self._version += 1
        self._endpoint.set_policy(self._authority.policy(bearers, self._gone, self._version))

    def _offer(self, settings: Settings) -> None:
        """Keeps the tunnels of services that stay as they are."""
        before = self._services
        self._services = {}
        for name, target in settings.services.items():
            key = service_id(self.pin, self.key_id, name)
            known = before.get(key)
            same = known is not None and known[1] == target
            self._services[key] = known if known and same else (name, target, Tunnel(LIMIT_DEFAULT))
        for key, known in before.items():
            if self._services.get(key) is not known:
                known[2].close()

    def _answer(self, request: Request) -> None:
        try:
            self._take(request)
        except HyperMeshError as error:
            request.refuse(error)
        except Exception:
            log.exception("a request of service %d failed", request.service)
            request.refuse(HyperMeshError("The server failed on this request"))

    def _take(self, request: Request) -> None:
        if request.alpn == ALPN_ENROL and request.service == SERVICE_CONTROL:
            request.reply(encode(self._authority.certificates))
        elif request.alpn != ALPN_SESSION:
            raise Forbidden(f"Nothing of this is served over {request.alpn}")
        elif request.service == SERVICE_TUNNEL:
            self._carry(request)
        elif request.service == SERVICE_PERF:
            self._measure(request)
        else:
            raise NotFound(f"This server has no service {request.service}")

    def _carry(self, request: Request) -> None:
        opening = Opening.unpack(request.body)
        found = self._services.get(opening.service)
        if found is None:
            raise NotFound("This server offers no such service")
        _, target, tunnel = found
        if opening.carriage is not target.carriage:
            raise InvalidInput(f"The service speaks {target.family}")
        tunnel.serve(request, target)

    def _measure(self, request: Request) -> None:
        stream = request.stream
        if stream is None:
            raise InvalidInput("A measurement is a stream")
        if not self._measuring.acquire(blocking=False):
            raise Overloaded("Others measure already")

        def measure() -> None:
            try:
                perf.serve(stream)
            except HyperMeshError as error:
                request.refuse(error)
            finally:
                self._measuring.release()

        self._pool.submit(measure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code of `hm` for what went wrong."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(levelname)s %(message)s")
    try:
        _run(given)
    except HyperMeshError as error:
        _complain(error)
        return error.exit_code
    return 0


def _run(given: argparse.Namespace) -> None:
    data = directory(given.data)

    def settings() -> Settings:
        return settled(data, given.config, given.listen, given.offer, given.stack, given.threads)

    echo = _plain_echo(given)
    server = Server(data, settings())
    ending, hurry = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        if ending.is_set():
            hurry.set()
        ending.set()
        server.stop()

    def again(*_: object) -> None:
        try:
            server.change(settings())
            log.info("settings and authorised peers read again")
        except HyperMeshError as error:
            log.warning("the settings stay as they were: %s", error)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, again)
    host, port = server.address
    print(f"listen  [{host}]:{port}")  # noqa: T201
    print(f"key     {server.key_id.hex()}")  # noqa: T201
    print(f"pin     {server.pin.hex()}", flush=True)  # noqa: T201
    if echo is not None:
        host, port = echo.address
        print(f"open    [{host}]:{port}", flush=True)  # noqa: T201
        echo.start()
    try:
        server.serve()
        log.info("going down")
        if not server.drain(given.drain, hurry):
            log.warning("some streams were cut off")
    finally:
        if echo is not None:
            echo.close()
        server.close()


def _plain_echo(given: argparse.Namespace) -> PlainEcho | None:
    if given.open is None:
        return None
    if given.open_chain is None or given.open_key is None:
        raise SettingsInvalid("--open needs a certificate", fix="Give --open-chain and --open-key")
    certificate = read_certificate(given.open_chain, given.open_key)
    return PlainEcho(parse_server(given.open), certificate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stoq-server",
        description="STOQ alone: echo, measurements and tunnels over a post-quantum transport, for "
        "the keys in authorized_peers. The first start makes keys; each prints key id and pin.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"stoq-server, version {__version__}")
    add("--data", type=Path, help="directory of the keys (else $HYPERMESH_STOQ, the user's own)")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML: listen, stack, threads, authorized_peers, [services]",
    )
    add("--listen", metavar="HOST:PORT", help="UDP, IPv6 ([::]:4433)")
    add(
        "--stack",
        choices=[each.value for each in Stack],
        help="versions of IP: IPv6, or IPv4 as well (ipv6)",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="I/O threads, each pinned to a core; 0 for one a core (1)",
    )
    add(
        "--offer",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="a tunnel target: web=tcp:[::1]:8080, db=unix:/run/db.sock; may be repeated",
    )
    add(
        "--open",
        metavar="HOST:PORT",
        help=f"an echo for plain QUIC, to everybody: ALPN {ALPN}, every stream comes back",
    )
    add("--open-chain", type=Path, metavar="FILE", help="its certificates, leaf first (PEM)")
    add("--open-key", type=Path, metavar="FILE", help="the leaf's secret key (PEM)")
    add(
        "--drain",
        type=float,
        default=DRAIN_S_DEFAULT,
        metavar="SECONDS",
        help=f"how long SIGTERM waits for what is open ({DRAIN_S_DEFAULT})",
    )
    return parser


def _complain(error: HyperMeshError) -> None:
    lines = [f"Error: {error.what}  [{error.code}]"]
    lines += [f"  why: {error.why}"] if error.why else []
    lines += [f"  fix: {error.fix}"] if error.fix else []
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def _now_s() -> int:
    return int(time.time())


if __name__ == "__main__":
    sys.exit(main())
