"""docs/performance.md says what the results say, and its charts show what they are given."""

from __future__ import annotations

import importlib
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def performance(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("performance")


@pytest.fixture
def chart(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("chart")


def measured(name: str, value: float, goal: float | None = None) -> dict[str, Any]:
    met = None if goal is None else value >= goal
    found = {"id": name, "value": value, "unit": "Gbit/s", "goal": goal, "better": "higher"}
    return {**found, "met": met, "samples": [value], "baseline": None}


def result(*metrics: dict[str, Any]) -> dict[str, Any]:
    return {"metrics": metrics, "host": "a host", "date": "2026-11-21", "commit": "abc"}


def test_the_page_and_its_charts_are_current(performance: ModuleType) -> None:
    found = json.loads(performance.RESULT.read_text()) if performance.RESULT.exists() else None
    assert performance.page(performance.PAGE.read_text(), found) == performance.PAGE.read_text()
    for file, text in performance.charts(performance.metrics_of(found)).items():
        assert file.read_text() == text, file.name
        assert f"performance/{file.name}" in performance.PAGE.read_text()


def test_the_page_has_every_block_and_no_other(performance: ModuleType) -> None:
    names = [block[2] for block in performance.BLOCK.finditer(performance.PAGE.read_text())]
    assert sorted(names) == sorted(performance.BLOCKS)
    with pytest.raises(KeyError):
        performance.page("<!-- colour -->\n<!-- /colour -->", None)


def test_what_is_not_measured_is_said(performance: ModuleType) -> None:
    page = performance.page("before\n<!-- bulk -->\nold\n<!-- /bulk -->\nafter", None)
    assert page == f"before\n<!-- bulk -->\n{performance.UNMEASURED}\n<!-- /bulk -->\nafter"


def test_goals_met_and_missed(performance: ModuleType) -> None:
    page = performance.page(
        "<!-- goals -->\n<!-- /goals -->",
        result(measured("a.b", 12.0, 10.0), measured("a.c", 0.5, 1.5), measured("a.d", 3.0)),
    )
    assert "Of 2 goals 1 are met and 1 missed." in page
    assert "| `a.b` | ≥ 10 | 12 Gbit/s | met |" in page
    assert "| `a.c` | ≥ 1.5 | 0.5 Gbit/s | **missed** |" in page
    assert "a.d" not in page


def test_bulk_stands_in_its_column(performance: ModuleType) -> None:
    page = performance.page(
        "<!-- bulk -->\n<!-- /bulk -->",
        result(
            measured("stoq.mtu1500.one_connection", 5.25),
            measured("stoq.mtu1500.one_connection.cpu", 1.5),
            measured("stoq.loopback.tcp", 40.0),
        ),
    )
    assert "| STOQ | - | 5.25 (1.5) | - |" in page
    assert "| plain TCP (not encrypted) | 40 | - | - |" in page
    assert "aioquic" not in page


def test_the_path_to_more_connections(performance: ModuleType) -> None:
    metrics = {"slope": 40.0, "opened": 250.0, "live": 10_000.0, "idle_cpu": 2.0}
    given = [measured(f"stoq.connections.{name}", value) for name, value in metrics.items()]
    page = performance.page("<!-- far -->\n<!-- /far -->", result(*given))
    assert "4.0 GB" in page
    assert "20 % of a core" in page
    assert "7 minutes" in page


# Charts


def test_points_stand_where_their_values_say(performance: ModuleType) -> None:
    names = [f"stoq.loopback.message.{size}.stoq" for size in (64, 512, 4096)]
    values = [1.0, 3.0, 2.0]
    metrics = dict(
        zip(names, map(measured, names, values), strict=True),
    )
    text = performance.charts(metrics)[performance.CHARTS / "message.svg"]
    image = ET.fromstring(text)  # noqa: S314
    marks = image.findall(f"{SVG}g")
    assert [mark.findtext(f"{SVG}title") for mark in marks] == [
        "STOQ, 64 B: 1",
        "STOQ, 512 B: 3",
        "STOQ, 4 KiB: 2",
    ]
    across = [float(mark.find(f"{SVG}circle").get("cx")) for mark in marks]
    down = [float(mark.find(f"{SVG}circle").get("cy")) for mark in marks]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1])
    assert down[1] < down[2] < down[0]
    assert down[0] - down[2] == pytest.approx(down[2] - down[1], abs=0.2)


def test_a_chart_is_inside_its_frame_and_reads_on_dark(chart: ModuleType) -> None:
    lines = [chart.Line(f"line {index}", [(1, 0.0), (64, 10.0**index)]) for index in range(6)]
    text = chart.render(chart.Chart("t <&>", "x", "y", [(1, "1"), (64, "64")], lines))
    image = ET.fromstring(text)  # noqa: S314
    assert "prefers-color-scheme: dark" in text
    for line in image.findall(f"{SVG}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert chart.LEFT <= x <= chart.WIDTH - chart.RIGHT
            assert chart.TOP <= y <= chart.HEIGHT - chart.BOTTOM


@pytest.mark.parametrize("point", [(0, 1.0), (-1, 1.0), (1, -1.0), (1, math.nan), (1, math.inf)])
def test_what_cannot_be_drawn_is_refused(chart: ModuleType, point: tuple[float, float]) -> None:
    line = chart.Line("bad", [point])
    with pytest.raises(ValueError, match="off the axes"):
        chart.render(chart.Chart("t", "x", "y", [], [line]))


def test_without_points_a_chart_says_so(chart: ModuleType) -> None:
    text = chart.render(chart.Chart("t", "x", "y", [], [chart.Line("a", [])]))
    assert "not measured yet" in text


@pytest.mark.parametrize(
    ("value", "tick"),
    [(0.9, 1), (1.0, 1), (1.2, 2), (2.4, 2.5), (4, 5), (6, 10), (70, 100), (0, 1)],
)
def test_ticks_are_round(chart: ModuleType, value: float, tick: float) -> None:
    assert chart.round_up(value) == pytest.approx(tick)
