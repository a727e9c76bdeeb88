"""What the pages of reports have in common: one HTML file without scripts."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Iterable, Mapping, Sequence

from hypermesh.wire.api.report import Control

_LAST_S = 253_402_300_799
"""The end of the year 9999: no calendar here goes on."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2rem .6rem;"
    "text-align:left;overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
)


def document(title: str, body: Iterable[str]) -> str:
    """The page called `title`; `body` is HTML."""
    return "".join(
        (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            f"<title>{html.escape(title)}: certificates</title><style>{_STYLE}",
            "</style></head><body>",
            f"<h1>{html.escape(title)}</h1>",
            *body,
            "</body></html>\n",
        )
    )


def period(from_s: int, to_s: int, made_s: int, caveat: str) -> str:
    """What time a report is of, when it was made, and what it is not."""
    return (
        f"<p>{moment(from_s)} to {moment(to_s)}; made {moment(made_s)}.</p>"
        f"<p><strong>{html.escape(caveat)}</strong></p>"
    )


def controls(found: Iterable[Control]) -> str:
    """Which controls the report bears on, and by what."""
    return "<h2>Controls that this bears on</h2>" + table(
        ("framework", "control", "what it asks", "evidence here"),
        [(each.framework, each.id, each.text, each.evidence) for each in found],
    )


def counts(title: str, found: Mapping[str, int]) -> str:
    """A heading, and how often there was each."""
    rows = [(name, str(count)) for name, count in found.items()]
    return f"<h2>{html.escape(title)}</h2>" + (
        table(("", "count"), rows) if rows else "<p>None.</p>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def moment(at_s: int) -> str:
    """A time in seconds since 1970, for people."""
    return dt.datetime.fromtimestamp(min(at_s, _LAST_S), dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
