"""`hm cert report`: what an authority did in a time, as evidence for an assessor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hypermesh.cli.command import Command, data_option, mesh, output_option

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 300.0
"""The audit log is read in order, and may be long."""
REPORT_BYTES_MAX = 64 << 20
TOKEN_BYTES_MAX = 1024
HTTP_OK = 200

_existing = click.Path(path_type=Path, exists=True, dir_okay=False)
_moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command(
    "report",
    cls=Command,
    example="hm cert report --from 2026-11-01 --to 2026-12-01 --html november.html\n"
    "hm cert report --server https://ca.example --token-file auditor\n"
    "hm cert report --server https://ca.example --token-file auditor --html out.html",
)
@click.option(
    "--server", metavar="URL", help="The API of a trustchain-server; else this node's network."
)
@click.option("--token-file", type=_existing, help="A file with an auditor's token in it.")
@click.option("--from", "begin", type=_moment, metavar="DATE", help="From here on (UTC).")
@click.option("--to", "end", type=_moment, metavar="DATE", help="Before then (UTC); until now.")
@click.option("--root", type=_existing, help="The server's root (PEM), where the system has not.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write it as a page to a file."
)
@data_option
@output_option
def cert_report(
    server: str | None,
    token_file: Path | None,
    begin: Any,
    end: Any,
    root: Path | None,
    html: Path | None,
    data: Path | None,
    output: str,
) -> None:
    """Say what an authority issued and revoked: for whom, by whom, where in its logs.

    It names the controls of SOC 2 and HIPAA that each figure bears on. It is evidence that an
    assessor may use, and certifies nothing. Without --server it is about the authority of this
    node's network, made from its transparency logs, on the machine that founded it.
    """
    from hypermesh.cli.output import emit, facts
    from hypermesh.crypto.files import replace
    from hypermesh.sdk.answer import understood
    from hypermesh.sdk.call import Call
    from hypermesh.standalone.trust.report import Report
    from hypermesh.wire.errors import InvalidInput

    period = {
        name: str(int(each.timestamp()))
        for name, each in (("from", _utc(begin)), ("to", _utc(end)))
        if each is not None
    }
    if begin is not None and end is not None and begin >= end:
        raise InvalidInput("--from is before --to")
    if server is None:
        _of_network(period, html, data, output)
        return
    if token_file is None:
        raise InvalidInput("--server asks for --token-file", why="auditors alone read reports")
    call = Call(Report, "GET", "/v1/report", query=period)
    report = understood(call, *_answer(server, token_file, root, period))
    if html is not None:
        status, page = _answer(server, token_file, root, period | {"format": "html"})
        if status != HTTP_OK:
            understood(call, status, page)
        replace(html.absolute(), page)
    emit(report, output, facts(_facts(report, html)))


def _of_network(period: dict[str, str], html: Path | None, data: Path | None, output: str) -> None:
    from hypermesh.cli.output import emit, facts, moment
    from hypermesh.crypto.files import replace

    end = period.get("to")
    with mesh(data) as here:
        report = here.ct.report(int(period.get("from", 0)), None if end is None else int(end))
    if html is not None:
        from hypermesh.node.authority_report import page

        replace(html.absolute(), page(report).encode())
    shown: dict[str, object] = {
        "network": f"{report.network}, {report.genesis}",
        "from": moment(report.from_s * 1000),
        "to": moment(report.to_s * 1000),
        "issued": report.issued,
        "revoked": report.revoked,
        "owners": len(report.issued_by_owner),
        **{
            f"entries of {origin.rpartition('/')[2]}": f"{first} to {last - 1}"
            for origin, (first, last) in report.positions.items()
            if last > first
        },
        "caveat": report.caveat,
    }
    emit(report, output, facts(shown if html is None else shown | {"page": html}))


def _facts(report: Any, html: Path | None) -> dict[str, object]:
    from hypermesh.cli.output import moment

    shown: dict[str, object] = {
        "organisation": report.organization,
        "from": moment(report.from_s * 1000),
        "to": moment(report.to_s * 1000),
        "issued": report.issued,
        "revoked": report.revoked,
        "requesters": len(report.issued_by_requester),
        "audit log": "whole" if report.chain_whole else "BROKEN",
        "caveat": report.caveat,
    }
    return shown if html is None else shown | {"page": html}


def _utc(given: Any) -> Any:
    import datetime as dt

    return None if given is None else given.replace(tzinfo=dt.UTC)


def _answer(
    server: str, token_file: Path, root: Path | None, query: dict[str, str]
) -> tuple[int, bytes]:
    """Status and body of the answer of `/v1/report`. Raises `Unreachable`."""
    import ssl

    import httpx

    from hypermesh.wire.errors import InvalidInput, Unreachable

    if not server.startswith("https://"):
        raise InvalidInput("--server begins with https://", why="a token goes over TLS alone")
    with token_file.open() as opened:
        token = opened.read(TOKEN_BYTES_MAX).strip()
    trust = ssl.create_default_context(cafile=None if root is None else str(root))
    try:
        headers = {"authorization": f"Bearer {token}"}
        with (
            httpx.Client(verify=trust, timeout=TIMEOUT_S, headers=headers) as client,
            client.stream("GET", f"{server.rstrip('/')}/v1/report", params=query) as answer,
        ):
            return answer.status_code, _read(answer)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise Unreachable(f"{server} does not answer", why=why) from error


def _read(answer: httpx.Response) -> bytes:
    from hypermesh.wire.errors import HyperMeshError

    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > REPORT_BYTES_MAX:
            raise HyperMeshError(f"The answer has more than {REPORT_BYTES_MAX} bytes")
    return bytes(body)
