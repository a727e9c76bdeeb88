"""`hypermesh-server`: a node in the foreground, under a service manager.

It logs to stderr, ends in order on SIGTERM and tells systemd how it is (`supervision`). Settings
come from flags, then `HYPERMESH_*` variables and configuration files (`layers`), then what the node
kept. Under systemd the data are in `StateDirectory=`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypermesh import __version__
from hypermesh.node import layers
from hypermesh.node.configuration import Configuration
from hypermesh.node.lifecycle import run
from hypermesh.node.names.place import parse_listen, parse_quic, parse_upstream
from hypermesh.node.supervision import Manager
from hypermesh.stoq.custody import Carry
from hypermesh.stoq.stack import Stack
from hypermesh.stoq.threads import THREADS_MAX
from hypermesh.trustchain.invitation import TEXT_CHARACTERS_MAX
from hypermesh.wire.asset import PrivacyLevel
from hypermesh.wire.errors import HyperMeshError, InvalidInput


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code of `hm` for what went wrong."""
    given = _parser().parse_args(arguments)
    try:
        configuration, token = configured(given, os.environ)
        run(
            configuration,
            token,
            clock_is_right=given.clock_is_right,
            watcher=Manager.here(),
            log_level=layers.text(layers.configured(), "log.level") or "info",
        )
    except HyperMeshError as error:
        _complain(error)
        return error.exit_code
    return 0


def configured(
    given: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[Configuration, str | None]:
    """What to run, and the invitation to join with, where there is no membership yet."""
    settled = layers.configured()
    place = given.data or environment.get("STATE_DIRECTORY") or layers.text(settled, "data")
    if not place:
        raise InvalidInput(
            "It is not said where the data are",
            fix="Give --data, or set StateDirectory= in the unit",
        )
    data = Path(place).expanduser().absolute()
    options = layers.node_options(settled, data, vars(given))
    configuration = Configuration.of(data, **options)
    if given.join is None or (data / "genesis").exists():
        return configuration, None
    return configuration, _invitation(given.join)


def _invitation(file: Path) -> str:
    try:
        with file.open() as opened:
            return opened.read(TEXT_CHARACTERS_MAX + 1).strip()
    except OSError as error:
        raise InvalidInput(f"The invitation {file} cannot be read", why=str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hypermesh-server",
        description="Run a node in the foreground. The first start founds a network, or joins one.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"hypermesh-server, version {__version__}")
    add("--data", help="the node's data directory (else $STATE_DIRECTORY, $HYPERMESH_DATA)")
    add("--join", type=Path, metavar="FILE", help="join by the invitation in FILE, the first time")
    add("--name", help="a name for people (default: the host's)")
    add("--share", help="how much of this machine to declare (50%%)")
    add("--level", choices=[each.value for each in PrivacyLevel], help="who may lease (private)")
    add("--stoq-host", help="address that STOQ listens on (::)")
    add("--stoq-stack", choices=[each.value for each in Stack], help="IP that STOQ speaks (ipv6)")
    add("--stoq-port", type=_port, help="UDP port of STOQ; 0 chooses one")
    add("--stoq-threads", type=_threads, help="I/O threads of STOQ; 0 for one a core (1)")
    add("--tls-port", type=_port, help="TCP port of the API for others; 0 for none (8444)")
    add("--carry", choices=[each.value for each in Carry], help="for whom it keeps parcels (own)")
    add("--dns-listen", type=_place, help="where names are served; off for nowhere ([::1]:5353)")
    add("--dns-tls", type=_place, help="where DNS over TLS is served ([::1]:8853)")
    add("--dns-quic", type=_place_v6, help="where DNS over QUIC is served ([::1]:8853)")
    add("--dns-upstream", type=_places, help="DNS servers that look up other names")
    add("--clock-is-right", action="store_true", help="start although the clock jumped by a day")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) > THREADS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 to {THREADS_MAX}")
    return int(text)


def _place(text: str) -> str:
    return _checked(parse_listen, text)


def _place_v6(text: str) -> str:
    return _checked(parse_quic, text)


def _places(text: str) -> str:
    return _checked(parse_upstream, text)


def _checked(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(f"{error.what}: {error.why}") from None
    return text


def _complain(error: HyperMeshError) -> None:
    lines = [f"Error: {error.what}  [{error.code}]"]
    lines += [f"  why: {error.why}"] if error.why else []
    lines += [f"  fix: {error.fix}"] if error.fix else []
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
