"""`hm cert watch`: what a transparency log says of the names that are yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hypermesh.cli.command import Command, Quantity, output_option, say
from hypermesh.wire.quantity import parse_duration

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from hypermesh.trustchain.ct.checkpoint import Checkpoint, LogIdentity
    from hypermesh.trustchain.ct.watch import Alert

EVERY_MS = 60_000
FAILURES_MAX = 10
"""In a row; a log that stays away is no log that is watched."""
KEY_BYTES_MAX = 64 * 1024

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    "watch",
    cls=Command,
    example="hm cert watch http://ca.example --log log.json --name a.example --state at\n"
    "hm cert watch https://log.example --key k.pem --name '*' --state at --once",
)
@click.argument("url", metavar="URL")
@click.option(
    "--name",
    "names",
    metavar="PATTERN",
    multiple=True,
    required=True,
    help="A name that is yours; *.example.com for all below it, * for all. May be repeated.",
)
@click.option(
    "--expect",
    metavar="PATTERN",
    multiple=True,
    help="A name of yours that has certificates: no alert. May be repeated.",
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
    url: str,
    names: tuple[str, ...],
    expect: tuple[str, ...],
    log: Path | None,
    key: Path | None,
    origin: str | None,
    witnesses: tuple[str, ...],
    state: Path,
    root: Path | None,
    once: bool,
    every: int,
    output: str,
) -> None:
    """Follow the certificate log at URL and say which certificates nobody expected.

    Any log with the static-ct-api is read. Every entry is hashed into the log's tree, and each
    checkpoint must be the log's and continue the one before: an altered entry or a second history
    ends the command with 9. One line an alert; with JSON, one document a line.
    """
    import ssl
    import time

    from hypermesh.trustchain.ct.checkpoint import read_witness_key
    from hypermesh.trustchain.ct.errors import LogUnreachable, NamesUnexpected
    from hypermesh.trustchain.ct.remote import RemoteLog
    from hypermesh.trustchain.ct.watch import CertificateFollower, Names, Watch

    identity = _identity(url, log, key, origin)
    known = tuple(map(read_witness_key, witnesses))
    trust = None if root is None else ssl.create_default_context(cafile=str(root))
    source = RemoteLog(url, trust)
    follower = CertificateFollower(source, identity, state.absolute(), known, len(known))
    alerts = 0

    def tell(alert: Alert) -> None:
        nonlocal alerts
        alerts += 1
        _tell(alert, output)

    watch = Watch(follower, Names(expected=expect, watched=names), tell)
    failures = 0
    while True:
        before = follower.size
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
