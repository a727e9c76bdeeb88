"""A plot is made once, noticed when damaged, and its process is held to its limits."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hypermesh.consensus.prover import process
from hypermesh.consensus.prover.bundle import Attestor
from hypermesh.consensus.prover.process import ProverFailed, ProverTooSlow, run
from hypermesh.consensus.prover.space import Plot, PlotRoom, TooFewAnswers, room
from hypermesh.consensus.prover.stake import prove as prove_stake
from hypermesh.consensus.verifier.time import GENERATOR
from hypermesh.wire.errors import NotFound

SMALLEST_K = 18


@pytest.fixture
def plot(history: Any, plots: Path, tmp_path: Path) -> Plot:
    """A copy of Alice's plot that a test may damage."""
    genuine = Plot(plots, history.start.genesis_id, history.start.ALICE, SMALLEST_K)
    copied = Plot(tmp_path, history.start.genesis_id, history.start.ALICE, SMALLEST_K)
    shutil.copy(genuine.path, copied.path)
    return copied


def damage(file: Path, at: float) -> None:
    """Zero a twentieth of `file`, beginning at the share `at` of its length."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(int(size * at))
        opened.write(bytes(size // 20))


def test_a_plot_is_made_once(history: Any, plot: Plot) -> None:
    made = plot.path.stat().st_mtime_ns
    plot.prepare()
    proof = plot.prove(history.network().expected().space)
    assert proof == history.honest.space
    assert plot.path.stat().st_mtime_ns == made


@pytest.mark.parametrize("at", [0.0, 0.3])
def test_a_damaged_plot_is_made_again(history: Any, plot: Plot, at: float) -> None:
    damage(plot.path, at)
    damaged = plot.path.read_bytes()
    assert plot.prove(history.network().expected().space) == history.honest.space
    assert plot.path.read_bytes() != damaged


def test_a_plot_with_nothing_in_it_is_made_again(history: Any, plot: Plot) -> None:
    """Every table zeroed but the header whole: it would answer no draw for ever."""
    with plot.path.open("r+b") as opened:
        opened.seek(1024)
        opened.write(bytes(plot.path.stat().st_size - 1024))
    assert plot.prove(history.network().expected().space) == history.honest.space


def test_an_empty_plot_is_made_again(history: Any, plot: Plot) -> None:
    os.truncate(plot.path, 0)
    assert plot.prove(history.network().expected().space) == history.honest.space


def test_the_plot_of_another_node_is_not_taken(history: Any, plot: Plot, tmp_path: Path) -> None:
    network = history.network()
    bob = Plot(tmp_path, network.genesis_id, network.BOB, SMALLEST_K)
    plot.path.rename(bob.path)
    statement = network.expected(network.BOB)
    bundle = msgspec.structs.replace(history.honest, space=bob.prove(statement.space))
    assert statement.space.failures(bundle) == []


def test_left_over_temporary_files_are_removed(plot: Plot) -> None:
    left_over = plot.path.parent / "plotting-left"
    left_over.mkdir()
    (left_over / "table1.tmp").write_bytes(b"x")
    plot.prepare()
    assert [path.name for path in plot.path.parent.iterdir()] == [plot.path.name]


def test_bad_luck_is_not_damage(history: Any, plot: Plot) -> None:
    made = plot.path.stat().st_mtime_ns
    every_draw = replace(history.network().expected().space, valid_min=16)
    with pytest.raises(TooFewAnswers):
        plot.prove(every_draw)
    assert plot.path.stat().st_mtime_ns == made


def test_a_full_disk_is_said_before_plotting(
    history: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=room(SMALLEST_K) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    plot = Plot(tmp_path, history.start.genesis_id, history.start.BOB, SMALLEST_K)
    with pytest.raises(PlotRoom):
        plot.prepare()
    assert list(tmp_path.iterdir()) == []


def test_the_noise_of_plotting_reaches_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], history: Any
) -> None:
    plot = Plot(tmp_path, history.start.genesis_id, history.start.CAROL, SMALLEST_K)
    plot.prepare()
    assert plot.path.stat().st_size < room(SMALLEST_K)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_process_is_killed_at_its_limit() -> None:
    with pytest.raises(ProverTooSlow):
        run(
            "evaluate",
            1,
            seed="07" * 32,
            start=GENERATOR.hex(),
            bits=512,
            iterations=10_000_000,
        )


def test_an_orphan_ends_at_its_processor_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child limits itself, so it ends even when nobody is left to kill it."""
    monkeypatch.setattr(process, "CPU_SECONDS_SPARE", -59)
    with pytest.raises(ProverFailed):
        run(
            "evaluate",
            60,
            seed="07" * 32,
            start=GENERATOR.hex(),
            bits=512,
            iterations=10_000_000,
        )


def test_a_failing_process_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProverFailed, match=r".") as caught:
        run(
            "answer",
            20,
            file=str(tmp_path / "none.plot"),
            k=SMALLEST_K,
            plot_id="00" * 32,
            draws=[],
            enough=1,
        )
    assert "none.plot" in caught.value.why


def test_a_bundle_that_would_be_refused_is_not_made(history: Any, attestor: Attestor) -> None:
    network = history.network()
    network.unbond(network.ALICE, network.BOND)
    with pytest.raises(ProverFailed) as caught:
        attestor.bundle(network.expected())
    assert "stake: a bond of 0 CAES" in caught.value.why


def test_a_stranger_has_no_stake_to_claim(history: Any) -> None:
    with pytest.raises(NotFound):
        prove_stake(history.start.expected(bytes(32)).stake)


def test_an_id_that_small_stripes_fail_on_is_plotted(tmp_path: Path) -> None:
    """chiapos with stripes of 1024 ends in `Matches do not match` for this plot id."""
    unlucky = "ba9c4d355bc74720781788bd689865a7fabf599fe62199b2eea531f439732b00"
    request = {"directory": str(tmp_path), "name": "unlucky.plot", "k": 18, "plot_id": unlucky}
    run("plot", 60, **request)
    assert (tmp_path / "unlucky.plot").stat().st_size > 3_000_000
