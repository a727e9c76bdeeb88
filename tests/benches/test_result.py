"""What a benchmark leaves behind: figures that say whether they keep their promise, and a host
without a name."""

from __future__ import annotations

import importlib
import json
import socket
from pathlib import Path
from types import ModuleType

import pytest

BENCHES = Path(__file__).resolve().parents[2] / "benches"
KEYS = ["id", "value", "unit", "goal", "better", "met", "samples", "baseline"]


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHES))
    return importlib.import_module("result")


@pytest.mark.parametrize(
    ("better", "goal", "met"),
    [("lower", 2.0, True), ("lower", 1.9, False), ("higher", 2.0, True), ("higher", 2.1, False)],
)
def test_a_goal_is_met_or_missed(result: ModuleType, better: str, goal: float, met: bool) -> None:
    assert result.metric("a.b", [1.0, 2.0, 9.0], "ms", goal=goal, better=better).met is met


def test_without_a_goal_there_is_no_verdict(result: ModuleType) -> None:
    assert result.metric("a.b", [1.0], "ms").met is None


def test_the_value_is_the_median_unless_another_is_given(result: ModuleType) -> None:
    assert result.metric("a.b", [1.0, 2.0, 9.0], "ms").value == 2.0
    assert result.metric("a.b", [1.0, 2.0, 9.0], "ms", value=9.0).value == 9.0


def test_samples_are_bounded_and_keep_their_spread(result: ModuleType) -> None:
    kept = result.metric("a.b", [float(n) for n in range(1000)], "ms").samples
    assert len(kept) == result.SAMPLES_KEPT
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0.0, 995.0)


def test_a_percentile_is_a_sample_of_that_rank(result: ModuleType) -> None:
    samples = [float(n) for n in range(100)]
    assert result.percentile(samples, 0.95) == 95.0
    assert result.percentile(samples, 1.0) == 99.0


def test_a_missed_goal_stays_in_the_file(result: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "results" / "x.json"
    result.write(file, "x", "make bench-x", [result.metric("x.y", [3.0], "ms", goal=1.0)])
    read = json.loads(file.read_text())
    assert read["schema_version"] == 1
    assert set(read) == {
        *("schema_version", "name", "commit", "command", "host", "date", "metrics")
    }
    assert [list(each) for each in read["metrics"]] == [KEYS]
    assert read["metrics"][0]["met"] is False


def test_the_host_has_no_name(result: ModuleType) -> None:
    host = result.host()
    assert "cores" in host
    assert "Python" in host
    assert socket.gethostname() not in host.replace(", ", " ").split()
    assert "/" not in host


@pytest.mark.parametrize("file", sorted((BENCHES / "results").glob("*.json")), ids=lambda f: f.stem)
def test_every_result_in_the_tree_has_the_format(file: Path) -> None:
    read = json.loads(file.read_text())
    assert read["schema_version"] == 1
    assert read["name"] == file.stem
    for metric in read["metrics"]:
        assert set(KEYS) <= set(metric), metric
        assert metric["better"] in ("lower", "higher")
        if metric["goal"] is not None:
            lower = metric["better"] == "lower"
            kept = metric["value"] <= metric["goal"] if lower else metric["value"] >= metric["goal"]
            assert metric["met"] is kept
