"""`trustchain-server`: a certificate authority, its transparency log, a name server and ACME, in
the foreground.

    trustchain-server init      hold the ceremony: root, issuing CA, logs, first operator's token
    trustchain-server run       serve until SIGTERM; SIGHUP takes up settings and a rotated issuer
    trustchain-server token     make, list and revoke tokens
    trustchain-server eab       make, list and drop external accounts of ACME
    trustchain-server backup    copy all but the root into a directory; restore brings it back
    trustchain-server phase     say who answers for a zone that moves here, and switch it
    trustchain-server root      make the root's revocation list anew; replace a compromised issuer

The server may run meanwhile, but for restore.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import uvloop

from hypermesh import __version__
from hypermesh.http.serving import serving
from hypermesh.standalone.peers import Server as Place
from hypermesh.standalone.trust import backup
from hypermesh.standalone.trust.application import THREADS, Application, WithAcme
from hypermesh.standalone.trust.call import parse_serial
from hypermesh.standalone.trust.errors import AddressTaken
from hypermesh.standalone.trust.founding import (
    Directory,
    Founded,
    carry_root_list,
    found,
    opened_root,
)
from hypermesh.standalone.trust.guard import Guard, TlsProtocol
from hypermesh.standalone.trust.parts import Parts, data_directory, now_s
from hypermesh.standalone.trust.recording import described, record
from hypermesh.standalone.trust.rereading import Rereading
from hypermesh.standalone.trust.rotation import rotate_issuer
from hypermesh.standalone.trust.settings import (
    Settings,
    parse_settings,
    read_settings,
    written,
)
from hypermesh.standalone.trust.tokens import LIFETIME_S_DEFAULT, Role, Tokens
from hypermesh.trustchain.ca.ceremony import Root
from hypermesh.trustchain.ct.checkpoint import LogIdentity
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from hypermesh.standalone.trust.acme import Acme

BACKLOG = 1024
TEND_S = 30.0
COSIGN_S = 5.0
PASSPHRASE_BYTES_MAX = 4096
PHASES = ("other DNS", "other DNS, compared", "the zone here first", "the zone here alone")

log = logging.getLogger("trustchain-server")


Reread = Callable[[], Settings]
"""Gives the settings as their file has them now."""


async def serve(directory: Directory, reread: Reread, started: threading.Event) -> None:
    """Serve from `directory` until SIGTERM or SIGINT; at SIGHUP obey what `reread` gives then.
    `started` is set when all listen."""
    stopping, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    # From the first instant: a SIGHUP that nobody handles ends a process.
    loop.add_signal_handler(signal.SIGHUP, again.set)
    settings = reread()
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(directory, settings)
        stack.callback(parts.close)
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="trust")
        stack.callback(pool.shutdown)
        routes = Application(parts, pool)
        listening: list[tuple[str, socket.socket]] = []
        guards: list[Guard] = []
        plain = settings.http_place
        if plain is not None:
            bound = _bound(plain)
            guards.append(Guard(routes, settings, parts.tokens, parts.is_good, is_plain=True))
            await stack.enter_async_context(serving(guards[-1], [bound]))
            listening.append(("http", bound))
        outer = Guard(routes, settings, parts.tokens, parts.is_good, is_plain=False)
        guards.append(outer)
        bound = _bound(settings.https_place)
        acme = None
        if settings.acme.enabled:
            acme = await _with_acme(parts, bound.getsockname()[1], outer, stack)
        app = outer if acme is None else acme[0]
        await stack.enter_async_context(serving(app, [bound], parts.tls.context, TlsProtocol))
        listening.append(("https", bound))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        _say(parts, listening)
        cosigning = asyncio.create_task(_cosign(parts, stopping), name="cosign")
        stack.push_async_callback(_ended, cosigning, parts, stopping)
        rereading = Rereading(parts, guards, acme)
        started.set()
        while not stopping.is_set():
            await _wait_any(TEND_S, stopping, again)
            if again.is_set():
                again.clear()
                await _take_up(parts, rereading, reread)
            await asyncio.to_thread(_tend, parts)
        log.info("going down")


async def _wait_any(timeout_s: float, *events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _cosign(parts: Parts, stopping: asyncio.Event) -> None:
    """Have witnesses cosign what the logs grew by. Nothing waits for it."""
    while not stopping.is_set():
        try:
            await asyncio.to_thread(parts.witnesses.follow)
        except HyperMeshError as error:
            log.warning("the logs are not cosigned: %s", error)
        await _wait_any(COSIGN_S, stopping)


async def _ended(cosigning: asyncio.Task[None], parts: Parts, stopping: asyncio.Event) -> None:
    stopping.set()
    # Its thread reads the logs, which are closed after it.
    parts.witnesses.close()
    await cosigning


async def _take_up(parts: Parts, rereading: Rereading, reread: Reread) -> None:
    """What SIGHUP asks for: the installed issuing CA, and the settings of now."""
    try:
        await asyncio.to_thread(parts.reopen)
        log.info("the installed issuing CA is taken up")
    except HyperMeshError as error:
        log.warning("the issuing CA stays as it was: %s", error)
    try:
        await rereading.change(reread())
        log.info("the settings are read again")
    except HyperMeshError as error:
        log.warning("the settings stay as they were: %s", error)


def _tend(parts: Parts) -> None:
    """What fails is tried again at the next turn; the present certificate has half of its life."""
    try:
        parts.tend()
    except HyperMeshError as error:
        log.warning("what was due is not done: %s", error)


async def _with_acme(
    parts: Parts, port: int, outer: Guard, stack: contextlib.AsyncExitStack
) -> tuple[WithAcme, Acme]:
    from hypermesh.standalone.trust.acme import opened

    server = await opened(parts, port, stack)
    return WithAcme(outer, server.application, server.path), server


def _bound(place: Place) -> socket.socket:
    family = socket.AF_INET if place.is_ipv4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(tuple(place))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressTaken(f"The server cannot listen on {place}", why=str(error)) from error
    return listener


def _say(parts: Parts, listening: list[tuple[str, socket.socket]]) -> None:
    """Where it serves, for whoever started it."""
    lines = []
    for scheme, listener in listening:
        host, port = listener.getsockname()[:2]
        lines.append(f"{scheme:<7} [{host}]:{port}")
    if parts.naming is not None:
        found = {"udp": "dns", "tls": "dot", "quic": "doq"}
        lines += [
            f"{found[each.transport]:<7} [{each.host}]:{each.port}"
            for each in parts.naming.server.addresses
            if each.transport in found
        ]
    if parts.settings.acme.enabled:
        port = listening[-1][1].getsockname()[1]
        lines.append(f"acme    {parts.settings.acme_url(port)}/directory")
    lines.append(f"root    {fingerprint(parts.root).hex()}")
    print("\n".join(lines), flush=True)  # noqa: T201


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of `hm` for what went wrong."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(levelname)s %(message)s")
    # It tells of each request that a command or a witness gets.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        if given.do in (_verify, _offline):
            # A backup is checked wherever it lies, and the root is where no server is.
            given.do(given)
        else:
            given.do(data_directory(given.data, os.environ.get("STATE_DIRECTORY")), given)
    except HyperMeshError as error:
        _complain(error)
        return error.exit_code
    return 0


def _init(directory: Directory, given: argparse.Namespace) -> None:
    settings = read_settings(given.config) if given.config else parse_settings("", "no file")
    settings = _stored_in(given)(settings)
    root = (given.root or directory.root).expanduser().absolute()
    made = found(directory, settings, root, _passphrase(given.passphrase), now_s())
    _say_founded(made)


def _say_founded(made: Founded) -> None:
    print(f"root    {made.root_file}")  # noqa: T201
    print(f"pin     {made.pin.hex()}")  # noqa: T201
    print(f"log     {_shown(made.log)}")  # noqa: T201
    print(f"token   {made.token}", flush=True)  # noqa: T201


def _request(directory: Directory, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust.ceremony import make_request

    settings = _stored_in(given)(read_settings(given.config))
    print(f"request {make_request(directory, settings)}")  # noqa: T201


def _install(directory: Directory, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust.ceremony import install_carried

    _say_founded(install_carried(directory, given.chain, given.list, now_s()))


def _offline(given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust.ceremony import certify, make_root

    settings, passphrase = read_settings(given.config), _passphrase(given.passphrase)
    root = given.root.expanduser().absolute()
    if given.request is None:
        print(f"root    {make_root(root, settings, passphrase, now_s())}")  # noqa: T201
    else:
        chain, listed = certify(root, given.request, settings, passphrase, now_s())
        print(f"chain   {chain}\nlist    {listed}")  # noqa: T201


def _run(directory: Directory, given: argparse.Namespace) -> None:
    directory.require_founded()
    file = given.config or directory.settings
    uvloop.run(serve(directory, lambda: read_settings(file), threading.Event()))


def _token(directory: Directory, given: argparse.Namespace) -> None:
    directory.require_founded()
    tokens = Tokens(directory.tokens)
    if given.action == "create":
        if given.role is None or not given.words:
            raise InvalidInput("Say for whom: token create LABEL --role ROLE")
        text, kept = tokens.create(
            " ".join(given.words), Role(given.role), tuple(given.name), now_s(), given.lifetime
        )
        # Shown when it is recorded: before that nobody has it.
        record(directory, now_s(), "token.create", kept.id, described(kept))
        print(f"id      {kept.id}\ntoken   {text}")  # noqa: T201
    elif given.action == "revoke":
        for each in given.words:
            kept = tokens.revoke(each)
            record(directory, now_s(), "token.revoke", kept.id, described(kept))
            print(f"revoked {kept.label}")  # noqa: T201
    else:
        for kept in tokens.listed():
            ended = "" if kept.expires_s > now_s() else "  ended"
            names = " ".join(kept.names)
            print(f"{kept.id}  {kept.role:<9}  {kept.label}  {names}{ended}")  # noqa: T201


def _eab(directory: Directory, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust import bindings

    directory.require_founded()
    with bindings.store_of(directory) as store:
        if given.action == "create":
            if not given.words:
                raise InvalidInput("Say for whom: eab create LABEL")
            made = bindings.create(store, " ".join(given.words))
            record(directory, now_s(), "eab.create", made.kid, encode(" ".join(given.words)))
            print(f"kid     {made.kid}\nkey     {made.secret}")  # noqa: T201
        elif given.action == "drop":
            for each in given.words:
                gone = bindings.drop(store, each)
                record(directory, now_s(), "eab.drop", gone.kid, encode(gone.label))
                print(f"dropped {gone.label}")  # noqa: T201
        else:
            for kept in bindings.listed(store):
                account = "unused" if kept.account is None else f"account {kept.account}"
                print(f"{kept.kid}  {kept.label}  {account}")  # noqa: T201


def _backup(directory: Directory, given: argparse.Namespace) -> None:
    directory.require_founded()
    made = backup.back_up(directory, given.target)
    print(f"{made.files} files, {made.entries} entries of the log, in {given.target}")  # noqa: T201


def _verify(given: argparse.Namespace) -> None:
    found = backup.verify(given.target)
    print(f"whole: {found.files} files, {found.entries} entries of the log")  # noqa: T201


def _restore(directory: Directory, given: argparse.Namespace) -> None:
    checkpoint = given.checkpoint.read_bytes() if given.checkpoint else None
    found = backup.restore(given.target, directory, checkpoint, _stored_in(given))
    print(f"restored {found.files} files, {found.entries} entries of the log")  # noqa: T201


def _introduce(directory: Directory, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust.federation import introduction

    directory.require_founded()
    settings = read_settings(given.config or directory.settings)
    print(introduction(directory, settings).decode(), end="")  # noqa: T201


def _root(directory: Directory, given: argparse.Namespace) -> None:
    directory.require_founded()
    root = opened_root(
        (given.root or directory.root).expanduser().absolute(), _passphrase(given.passphrase)
    )
    try:
        settings = read_settings(given.config or directory.settings)
        if given.action == "replace-issuer":
            key_id = rotate_issuer(directory, root, settings, now_s())
            print(f"issuer  {key_id.hex()}\nnext    kill -HUP the server")  # noqa: T201
        elif given.action in ("federate", "partners", "drop"):
            _partners(root, given)
            if given.action == "drop":
                carry_root_list(directory, root, settings, now_s())
        else:
            carry_root_list(directory, root, settings, now_s())
            print("the root's revocation list is made anew")  # noqa: T201
    finally:
        root.close()


def _phase(directory: Directory, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust.asking import Running
    from hypermesh.standalone.trust.names import PhaseChange, PhasePage, PhaseView

    directory.require_founded()
    settings = read_settings(given.config or directory.settings)
    url = given.server or settings.https_url
    root = given.root.read_text() if given.root else None
    if root is None and not settings.tls.certificate:
        root = ssl.DER_cert_to_PEM_cert(directory.root_certificate())
    with Running(url, given.token_file, root) as server:
        if given.phase is not None:
            path = f"/v1/dns/phases/{quote(given.zone, safe='')}"
            found = [server.ask("PUT", path, PhaseView, PhaseChange(given.phase))]
        else:
            page = server.ask("GET", "/v1/dns/phases", PhasePage)
            found = [each for each in page.items if given.zone in (None, each.zone)]
    for each in found:
        by = "as the settings say" if each.author is None else f"by {each.author}"
        leaf = "" if each.leaf is None else f", act {each.leaf}"
        print(f"{each.zone}  {each.phase} ({PHASES[each.phase]})  {by}{leaf}")  # noqa: T201


def _partners(root: Root, given: argparse.Namespace) -> None:
    from hypermesh.standalone.trust import federation

    if given.action == "federate":
        if len(given.words) != 1:
            raise InvalidInput(
                "Say whom to certify: root federate FILE --permit dns:partner.example.org",
                fix="The file is what the partner's `trustchain-server introduce` prints",
            )
        made = federation.federate(root, Path(given.words[0]), given.permit, now_s())
        print(f"serial  {made.serial:x}\nname    {made.subject}\nfile    {made.file}")  # noqa: T201
    elif given.action == "drop":
        for each in given.words:
            federation.drop(root, parse_serial(each), now_s())
            print(f"dropped {each}")  # noqa: T201
    else:
        for kept in federation.partners(root):
            ended = "  dropped" if kept.is_revoked else ""
            ended = ended or ("  ended" if kept.not_after_s <= now_s() else "")
            names = " ".join(kept.permitted)
            print(f"{kept.serial:x}  {kept.subject}  {names}{ended}")  # noqa: T201


def _shown(identity: LogIdentity) -> str:
    return f"{identity.origin} {identity.fingerprint.hex()}"


def _passphrase(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open() as opened:
            text = opened.read(PASSPHRASE_BYTES_MAX).strip("\n")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read", why=str(error)) from error
    if not text:
        raise InvalidInput(f"{file} holds no passphrase")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trustchain-server",
        description="A certificate authority with a transparency log, OCSP, revocation lists, ACME "
        "and a name server, alone: no mesh and no ledger.",
    )
    parser.add_argument(
        "--version", action="version", version=f"trustchain-server, version {__version__}"
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, help="data directory (else $STATE_DIRECTORY)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[shared], help=text, description=text)
        made.set_defaults(do=do)
        return made

    init = command("init", _init, "Hold the ceremony: root, issuing CA, logs, an operator's token.")
    init.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML; kept in DATA")
    _store_options(init)
    _root_options(init)
    offline = command(
        "offline",
        _offline,
        "On a machine of its own: make the root; with REQUEST, certify an issuing CA by it.",
    )
    offline.add_argument("request", nargs="?", type=Path, metavar="REQUEST")
    offline.add_argument("--config", type=Path, metavar="FILE", required=True, help="settings")
    offline.add_argument(
        "--root", type=Path, metavar="DIR", required=True, help="where the root is"
    )
    offline.add_argument(
        "--passphrase", type=Path, metavar="FILE", help="what seals the root's key, in a file"
    )
    asked = command(
        "request", _request, "Begin without a root: print what an offline one certifies."
    )
    asked.add_argument("--config", type=Path, metavar="FILE", required=True, help="settings")
    _store_options(asked)
    taken = command("install", _install, "Take up what the offline root certified.")
    taken.add_argument("chain", type=Path, metavar="CHAIN")
    taken.add_argument("list", type=Path, metavar="LIST")
    run = command("run", _run, "Serve until SIGTERM.")
    run.add_argument("--config", type=Path, metavar="FILE", help="other settings than those kept")
    token = command("token", _token, "Make, list and revoke tokens.")
    token.add_argument("action", choices=["create", "ls", "revoke"])
    token.add_argument("words", nargs="*", metavar="LABEL|ID")
    token.add_argument("--role", choices=[str(each) for each in Role])
    token.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="PATTERN",
        help="what it may have certified, as dns:.example.internal; may be repeated",
    )
    token.add_argument("--lifetime", type=_lifetime, default=LIFETIME_S_DEFAULT, help="(90d)")
    eab = command("eab", _eab, "Make, list and drop external accounts of ACME (RFC 8555 7.3.4).")
    eab.add_argument("action", choices=["create", "ls", "drop"])
    eab.add_argument("words", nargs="*", metavar="LABEL|KID")
    made = command("backup", _backup, "Copy all but the root into a new directory.")
    made.add_argument("target", type=Path, metavar="DIR")
    checked = command("verify", _verify, "Check a backup: every file, and the log's own hashes.")
    checked.add_argument("target", type=Path, metavar="DIR")
    restore = command("restore", _restore, "Bring a backup back into an empty data directory.")
    restore.add_argument("target", type=Path, metavar="DIR")
    restore.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="the newest checkpoint of the log that anybody has: a log that went back would fork",
    )
    _store_options(restore)
    phase = command("phase", _phase, "Say who answers for a zone that moves here; switch it.")
    phase.add_argument("zone", nargs="?", metavar="ZONE", help="one of phased in [dns]; else all")
    phase.add_argument(
        "phase",
        nargs="?",
        type=int,
        choices=range(len(PHASES)),
        metavar="PHASE",
        help="; ".join(f"{number} {text}" for number, text in enumerate(PHASES)),
    )
    phase.add_argument("--token-file", type=Path, required=True, metavar="FILE", help="a token")
    phase.add_argument("--server", metavar="URL", help="its API, where the settings do not say it")
    phase.add_argument("--root", type=Path, metavar="FILE", help="what is believed of it, PEM")
    phase.add_argument("--config", type=Path, metavar="FILE", help="other settings than those kept")
    shown = command("introduce", _introduce, "Print what a partner's root certifies this CA by.")
    shown.add_argument("--config", type=Path, metavar="FILE", help="other settings than those kept")
    root = command("root", _root, "With the root at hand: its revocation list, issuers, partners.")
    root.add_argument(
        "action", choices=["refresh", "replace-issuer", "federate", "partners", "drop"]
    )
    root.add_argument("words", nargs="*", metavar="FILE|SERIAL")
    root.add_argument(
        "--permit",
        action="append",
        default=[],
        metavar="SUBTREE",
        help="what a partner may certify, as dns:partner.example.org; may be repeated",
    )
    root.add_argument("--config", type=Path, metavar="FILE", help="other settings than those kept")
    _root_options(root)
    return parser


def _root_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the root is (DATA/root)")
    parser.add_argument(
        "--passphrase", type=Path, metavar="FILE", help="what seals the root's key, in a file"
    )


def _store_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        metavar="URL",
        help="the PostgreSQL database that keeps what is issued, as in "
        "postgresql://trustchain@/trustchain?host=/run/postgresql; an empty one (files)",
    )
    parser.add_argument(
        "--store-password", type=Path, metavar="FILE", help="the database's password, in a file"
    )


def _stored_in(given: argparse.Namespace) -> Callable[[Settings], Settings]:
    """Settings with the store that the command line names, where it names one."""

    def changed(settings: Settings) -> Settings:
        if given.store is not None:
            settings = msgspec.structs.replace(settings, store=given.store)
        if given.store_password is not None:
            file = str(given.store_password.expanduser().absolute())
            settings = msgspec.structs.replace(settings, store_password_file=file)
        return parse_settings(written(settings), "the command line")

    return changed


def _lifetime(text: str) -> int:
    return parse_duration(text) // 1000


def _complain(error: HyperMeshError) -> None:
    lines = [f"Error: {error.what}  [{error.code}]"]
    lines += [f"  why: {error.why}"] if error.why else []
    lines += [f"  fix: {error.fix}"] if error.fix else []
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
