"""`hm cert watch`: what a transparency log says of the names that are yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, Quantity, data_option, mesh, output_option, say
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from hypermesh.sdk.mesh import Mesh
    from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity
    from hypermesh.trustchain.ct.entry import Entry
    from hypermesh.trustchain.ct.watch import Alert, Names

EVERY_MS = 60_000
FAILURES_MAX = 10
"""In a row; a log that stays away is no log that is watched."""
KEY_BYTES_MAX = 64 * 1024
MESH_LOG = "http://localhost/v1/ct/authority/certificates"
OWN_NAMES = ("*.hypermesh.online",)
"""They lead to the machine of who asks; the authority's node has a certificate for them."""
JOINING_S = 10.0
"""For which the ledger may not know a node yet that joins."""
AGAIN_S = 0.5

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    "watch",
    cls=Command,
    example="hm cert watch --state at --once\n"
    "hm cert watch http://ca.example --log log.json --name a.example --state at\n"
    "hm cert watch https://log.example --key k.pem --name '*' --state at --once\n"
    "hm cert watch http://ca.example --log log.json --name '*' --known mine.txt --state at",
)
@click.argument("url", metavar="[URL]", required=False)
@click.option(
    "--name",
    "names",
    metavar="PATTERN",
    multiple=True,
    help="A name that is yours; *.example.com for all below it, * for all. May be repeated. "
    "Without a URL all, unless told.",
)
@click.option(
    "--expect",
    metavar="PATTERN",
    multiple=True,
    help="A name of yours that has certificates: no alert. May be repeated.",
)
@click.option(
    "--known",
    type=_existing,
    help="A file of what is known, and so no alert: certificates (PEM), and lines sha256:DIGEST, "
    "serial:NUMBER or a name. It is read again at each look.",
)
@click.option("--log", type=_existing, help="Its keys: what /v1/logs of its server says.")
@click.option("--key", type=_existing, help="Its P-256 key alone, PEM or base64, as log lists say.")
@click.option("--origin", metavar="NAME", help="With --key: its origin (URL without the scheme).")
@click.option(
    "--witness",
    "witnesses",
    metavar="VKEY",
    multiple=True,
    help="A witness that must have cosigned, by its verifier key. May be repeated.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file that keeps how far it read, and goes on there; made where it is not there.",
)
@data_option
@click.option("--root", type=_existing, help="The root (PEM) that is believed over HTTPS.")
@click.option("--once", is_flag=True, help="Read what is new and end; with 9 where it alerts.")
@click.option(
    "--every",
    type=Quantity("DURATION", parse_duration),
    default=f"{EVERY_MS // 1000}s",
    show_default=True,
    help="How often to look.",
)
@output_option
def cert_watch(
    url: str | None,
    names: tuple[str, ...],
    expect: tuple[str, ...],
    known: Path | None,
    log: Path | None,
    key: Path | None,
    origin: str | None,
    witnesses: tuple[str, ...],
    state: Path,
    data: Path | None,
    root: Path | None,
    once: bool,
    every: int,
    output: str,
) -> None:
    """Follow the certificate log at URL and say which certificates nobody expected.

    Any log with the static-ct-api is read. Every entry is hashed into the log's tree, and each
    checkpoint must be the log's and continue the one before: an altered entry or a second history
    ends the command with 9. One line an alert; with JSON, one document a line.

    Without URL it is the log of this node's network: the node knows its keys by the ledger, and
    asks the node that keeps it. Certificates of nodes that the ledger knows, under their own keys
    and names, are expected, and those of this machine's names below hypermesh.online.
    """
    import ssl
    import time

    from hypermesh.sdk.location import data_directory, socket_path
    from hypermesh.trustchain.ct.checkpoint import read_witness_key
    from hypermesh.trustchain.ct.errors import LogUnreachable, NamesUnexpected
    from hypermesh.trustchain.ct.remote import RemoteLog
    from hypermesh.trustchain.ct.watch import CertificateFollower, Watch
    from hypermesh.wire.errors import InvalidInput

    signing = tuple(map(read_witness_key, witnesses))
    trust = None if root is None else ssl.create_default_context(cafile=str(root))
    is_known: Callable[[Entry], bool] = lambda _: False  # noqa: E731 - one of two
    if url is None:
        if log is not None or key is not None:
            raise InvalidInput("--log and --key are for a URL", why="the ledger has the keys")
        here = mesh(data)
        identity, is_known = _of_network(here)
        source = RemoteLog(MESH_LOG, None, socket_path(data_directory(data)))
        names, expect = names or ("*",), (*expect, *OWN_NAMES)
    else:
        if not names:
            raise InvalidInput("No name is watched", fix="Give --name, once or more")
        identity, source = _identity(url, log, key, origin), RemoteLog(url, trust)
    follower = CertificateFollower(source, identity, state.absolute(), signing, len(signing))
    alerts = 0

    def tell(alert: Alert) -> None:
        nonlocal alerts
        alerts += 1
        _tell(alert, output)

    watch = Watch(follower, _names(names, expect, known), tell, is_known)
    failures = 0
    while True:
        before = follower.size
        watch.names = _names(names, expect, known)
        try:
            checkpoint = watch.follow()
        except LogUnreachable as error:
            failures += 1
            if once or failures >= FAILURES_MAX:
                raise
            say(f"{error}; asked again in {every / 1000:g} s", output)
        else:
            failures = 0
            if once:
                _end(checkpoint, before, alerts, output)
                break
        time.sleep(every / 1000)
    if alerts:
        raise NamesUnexpected(f"{alerts} certificates were not expected")


def _of_network(here: Mesh) -> tuple[LogIdentity, Callable[[Entry], bool]]:
    """The network's log of certificates, and whether an entry is of a node that the ledger knows,
    under its own keys and names."""
    import time

    from cryptography import x509

    from hypermesh.trustchain.bundle import LogKeys
    from hypermesh.trustchain.certificate import server_name
    from hypermesh.trustchain.ct.watch import names_in
    from hypermesh.trustchain.subject import subject_node

    said = here.ct.keys().certificates
    genesis = here.network.status().genesis
    owners: dict[str, str] = {}

    def is_known(entry: Entry) -> bool:
        certificate = x509.load_der_x509_certificate(entry.submitted)
        identifier = subject_node(certificate)
        if identifier is None:
            return False
        # Whoever joins has its certificate before it is on the ledger.
        node, until_s = identifier.hex(), time.monotonic() + JOINING_S
        is_new = time.time() * 1000 - entry.timestamp_ms < JOINING_S * 1000
        while node not in owners:
            owners.update((each.node, each.owner) for each in here.network.nodes())
            if node in owners or not is_new or time.monotonic() > until_s:
                break
            time.sleep(AGAIN_S)
        if node not in owners:
            return False
        names = {node, server_name(identifier, bytes.fromhex(genesis))}
        names |= {f"hm:node:{node}", f"hm:owner:{owners[node]}", f"hm:network:{genesis}"}
        return names.issuperset(names_in(certificate))

    return LogKeys(said.origin, said.ed25519, said.falcon, said.p256).identity, is_known


def _names(watched: tuple[str, ...], expect: tuple[str, ...], known: Path | None) -> Names:
    from hypermesh.trustchain.ct.known import BYTES_MAX, Known, read_known
    from hypermesh.trustchain.ct.watch import Names
    from hypermesh.wire.errors import InvalidInput

    found = Known()
    if known is not None:
        try:
            with known.open("rb") as opened:
                data = opened.read(BYTES_MAX + 1)
            if len(data) > BYTES_MAX:
                raise InvalidInput(f"{known} has more than {BYTES_MAX} bytes")
            found = read_known(data.decode())
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{known} cannot be read", why=str(error)) from error
    return Names((*expect, *found.names), watched, found.digests, found.serials)


def _identity(url: str, log: Path | None, key: Path | None, origin: str | None) -> LogIdentity:
    from hypermesh.standalone.trust.witnesses import read_logs
    from hypermesh.trustchain.ct.checkpoint import LogIdentity
    from hypermesh.wire.errors import InvalidInput

    if (log is None) == (key is None):
        raise InvalidInput(
            "The log's keys are not known",
            why="whoever answers at the URL could be any log",
            fix="Give --log or --key, from where you trust them",
        )
    if key is not None:
        named = origin or url.partition("://")[2].rstrip("/")
        return LogIdentity(named, b"", b"", _public_key(key))
    found = [] if log is None else [each for each in read_logs(log) if each.p256 is not None]
    if not found:
        raise InvalidInput(f"{log} has no keys of a log of certificates")
    return found[0]


def _public_key(file: Path) -> EllipticCurvePublicKey:
    import base64
    import binascii

    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        load_der_public_key,
        load_pem_public_key,
    )

    from hypermesh.wire.errors import InvalidInput

    with file.open("rb") as opened:
        data = opened.read(KEY_BYTES_MAX)
    try:
        if data.lstrip().startswith(b"-----"):
            found = load_pem_public_key(data)
        else:
            found = load_der_public_key(base64.b64decode(data.strip(), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"{file} holds no public key", why=str(error)) from error
    if not isinstance(found, ec.EllipticCurvePublicKey):
        raise InvalidInput(f"{file} holds no P-256 key", why="logs sign by ECDSA (RFC 6962)")
    return found


def _tell(alert: Alert, output: str) -> None:
    from hypermesh.cli.output import line, moment, printable

    if output != "table":
        click.echo(
            line(
                {
                    "index": alert.index,
                    "timestamp_ms": alert.timestamp_ms,
                    "names": list(alert.names),
                    "issuer": alert.issuer,
                    "sha256": alert.fingerprint.hex(),
                    "why": alert.why,
                }
            )
        )
        return
    what = ", ".join(alert.names) or alert.why
    told = f"{moment(alert.timestamp_ms)}  {alert.index:>9}  {what}  by {alert.issuer}"
    click.echo(printable(told))


def _end(checkpoint: Checkpoint, before: int, alerts: int, output: str) -> None:
    fresh = max(0, checkpoint.size - before)
    say(f"{fresh} new entries of {checkpoint.origin}, {alerts} alerts", output)
