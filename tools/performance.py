"""The tables of docs/performance.md and its charts, from benches/results/stoq.json.

The page is written by hand but for what stands between `<!-- NAME -->` and `<!-- /NAME -->`, which
is put there by this. `--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chart import Chart, Line, render

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benches" / "results" / "stoq.json"
PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
UNMEASURED = "Not measured yet: `make bench-stoq` does."
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
FAR = 100_000

LINKS = {"loopback": "loopback", "mtu1500": "MTU 1,500", "mtu9000": "MTU 9,000"}
TRANSPORTS = {
    "stoq": "STOQ",
    "stoq_python": "STOQ from Python",
    "quinn_best": "quinn, its best settings",
    "quinn_default": "quinn, its defaults",
    "rustls": "rustls over TCP",
    "python_ssl": "Python's `ssl` over TCP",
    "aioquic": "aioquic",
    "tcp": "plain TCP (not encrypted)",
    "python_tcp": "plain TCP from Python",
}
DRAWN = {"stoq": "STOQ", "quinn_best": "quinn at best", "rustls": "rustls on TCP", "tcp": "TCP"}
SIZES = {
    64: "64 B",
    512: "512 B",
    4096: "4 KiB",
    32768: "32 KiB",
    262144: "256 KiB",
    2 << 20: "2 MiB",
}

Metrics = dict[str, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    result = json.loads(RESULT.read_text()) if RESULT.exists() else None
    files = {PAGE: page(PAGE.read_text(), result), **charts(metrics_of(result))}
    if not check:
        CHARTS.mkdir(exist_ok=True)
        for file, text in files.items():
            file.write_text(text)
        return 0
    late = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in late:
        print(f"{file.relative_to(ROOT)} is out of date; run `make status`", file=sys.stderr)
    return 1 if late else 0


def metrics_of(result: dict[str, Any] | None) -> Metrics:
    return {each["id"]: each for each in (result or {"metrics": []})["metrics"]}


def page(text: str, result: dict[str, Any] | None) -> str:
    """The page with its tables as they are now. Raises `KeyError` for a block nobody knows."""
    found = metrics_of(result)

    def filled(block: re.Match[str]) -> str:
        lines = BLOCKS[block[2]](found, result)
        return f"{block[1]}{chr(10).join(lines or [UNMEASURED])}\n{block[3]}"

    return BLOCK.sub(filled, text)


def measured_on(_: Metrics, result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    return [f"Measured on {result['date']}, commit `{result['commit']}`: {result['host']}."]


def goals(found: Metrics, _: dict[str, Any] | None) -> list[str]:
    """Every metric that something was promised of."""
    wanted = [each for each in found.values() if each["goal"] is not None]
    if not wanted:
        return []
    met = sum(each["met"] for each in wanted)
    rows = []
    for each in wanted:
        verdict = "met" if each["met"] else "**missed**"
        rows.append(f"| `{each['id']}` | {goal(each)} | {figure(each)} | {verdict} |")
    summary = f"Of {len(wanted)} goals {met} are met and {len(wanted) - met} missed."
    return [summary, "", "| metric | goal | measured | |", "|---|---|---|---|", *rows]


def bulk(found: Metrics, _: dict[str, Any] | None) -> list[str]:
    """Gbit/s of every transport on every path, and what a gigabyte costs."""
    rows = []
    for transport, words in TRANSPORTS.items():
        cells = [cell(found, bulk_id(link, transport)) for link in LINKS]
        if any(cells):
            rows.append(f"| {words} | {' | '.join(each or '-' for each in cells)} |")
    head = [f"| | {' | '.join(LINKS.values())} |", f"|---|{'---|' * len(LINKS)}"]
    return [*head, *rows] if rows else []


def bulk_id(link: str, transport: str) -> str:
    if transport == "stoq":
        return f"stoq.{link}.one_connection"
    return f"stoq.python.{link}" if transport == "stoq_python" else f"stoq.{link}.{transport}"


def cell(found: Metrics, name: str) -> str:
    if name not in found:
        return ""
    used = found.get(f"{name}.cpu")
    cost = "" if used is None else f" ({used['value']:.2g})"
    return f"{found[name]['value']:.3g}{cost}"


def listed(*prefixes: str) -> Callable[[Metrics, dict[str, Any] | None], list[str]]:
    """A table of the metrics whose ids begin so."""

    def table(found: Metrics, _: dict[str, Any] | None) -> list[str]:
        rows = [
            f"| `{name}` | {figure(each)} | {goal(each)} |"
            for name, each in found.items()
            if name.startswith(prefixes)
        ]
        return ["| metric | measured | goal |", "|---|---|---|", *rows] if rows else []

    return table


def far(found: Metrics, _: dict[str, Any] | None) -> list[str]:
    """What the measured slope says of ten times as many connections."""
    names = ("slope", "opened", "live", "idle_cpu")
    values = [found.get(f"stoq.connections.{name}") for name in names]
    each_kb, rate, live, percent = (0.0 if each is None else each["value"] for each in values)
    if not (each_kb and rate and live):
        return []
    gigabytes, cores = each_kb * FAR / 1e6, percent * FAR / live
    return [
        f"Up to {live:,.0f} connections, a further one costs the server {each_kb:.1f} KB, and all",
        f"of them at rest {percent:.3g} % of a core. By these slopes {FAR:,} idle connections take",
        f"{gigabytes:.1f} GB of its memory and {cores:.3g} % of a core, and clients on the same",
        f"machine take {FAR / rate / 60:.0f} minutes to open them.",
    ]


def figure(each: dict[str, Any]) -> str:
    return f"{each['value']:.4g} {each['unit']}".rstrip()


def goal(each: dict[str, Any]) -> str:
    if each["goal"] is None:
        return "-"
    return f"{'≥' if each['better'] == 'higher' else '≤'} {each['goal']:g}"


BLOCKS: dict[str, Callable[[Metrics, dict[str, Any] | None], list[str]]] = {
    "measured": measured_on,
    "goals": goals,
    "bulk": bulk,
    "requests": listed("stoq.request.", "stoq.python.request."),
    "handshakes": listed("stoq.handshake."),
    "connections": listed("stoq.connections."),
    "far": far,
    "lossy": listed("stoq.lossy."),
    "transfer": listed("stoq.transfer."),
    "ablation": listed("stoq.ablation."),
}


def charts(found: Metrics) -> dict[Path, str]:
    """Each chart by its file."""
    sizes = points(found, "message")
    counts = points(found, "connections")
    return {
        CHARTS / "message.svg": render(
            Chart(
                "One connection on loopback",
                "bytes in one write",
                "Gbit/s",
                [(each, SIZES.get(each, f"{each:,} B")) for each in sizes],
                lines(found, "message", sizes),
            )
        ),
        CHARTS / "connections.svg": render(
            Chart(
                "All connections together on loopback",
                "connections at once",
                "Gbit/s",
                [(each, f"{each:,}") for each in counts],
                lines(found, "connections", counts),
            )
        ),
    }


def points(found: Metrics, curve: str) -> list[int]:
    """The places on the x axis at which a curve was measured."""
    pattern = re.compile(rf"stoq\.loopback\.{curve}\.(\d+)\.")
    return sorted({int(match[1]) for name in found if (match := pattern.match(name))})


def lines(found: Metrics, curve: str, places: list[int]) -> list[Line]:
    drawn = []
    for transport, words in DRAWN.items():
        names = [(place, f"stoq.loopback.{curve}.{place}.{transport}") for place in places]
        values = [(float(place), found[name]["value"]) for place, name in names if name in found]
        drawn.append(Line(words, values))
    return drawn


if __name__ == "__main__":
    sys.exit(main())
