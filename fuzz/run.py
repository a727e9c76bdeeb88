"""Give every decoder altered inputs for a time: those in Rust through libFuzzer, those in Python
through `fuzz.decoders`.

    python -m fuzz.run [--seconds N] [--only NAME]... [--report FILE]

Needs a nightly toolchain for the Rust part, because coverage counters are no stable option. The
corpora stay in `fuzz/corpus` and make the next run begin where this one ended; none is in the
repository, for the programs make their seeds. Ends with 1 where an input was found that breaks a
decoder: it lies in `fuzz/artifacts`, or is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from benches.result import Metric, metric, write
from fuzz.decoders.targets import TARGETS, Failure, exercise

FUZZ = Path(__file__).resolve().parent
TRIPLE = "x86_64-unknown-linux-gnu"
TARGET_DIRECTORY = FUZZ / "target"
SEED = 2026
INPUT_BYTES_MAX = 65_536
MEMORY_MIB_MAX = 2048
INPUT_S_MAX = 10
"""An input that takes longer is a finding too."""
PLANTED_S_MAX = 120
SECONDS_DEFAULT = 10

INSTRUMENTED = (
    "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 "
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters "
    "-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares "
    "-Ccodegen-units=1"
)
"""As cargo-fuzz sets them, without a sanitizer: the crates under test are Rust without `unsafe`
where they decode, so what a sanitizer finds an assertion finds."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=SECONDS_DEFAULT, help="of each target")
    parser.add_argument("--only", action="append", default=[], help="a target; repeatable")
    parser.add_argument("--report", type=Path, default=None, help="where the result is written")
    arguments = parser.parse_args()
    metrics: list[Metric] = []
    broken: list[str] = []
    rust = [each for each in rust_targets() if not arguments.only or each in arguments.only]
    if rust:
        build([])
    for name in rust:
        count, coverage, found = under_libfuzzer(name, arguments.seconds)
        report(f"rust {name}", count, arguments.seconds, f", {coverage} edges")
        broken += [f"rust {name}: {found}"] if found else []
        metrics.append(metric(f"fuzz.rust.{name}.inputs", [count], "inputs", better="higher"))
        metrics.append(metric(f"fuzz.rust.{name}.coverage", [coverage], "edges", better="higher"))
    if rust and not arguments.only:
        took_s = planted()
        metrics.append(metric("fuzz.planted.found", [took_s], "s", goal=PLANTED_S_MAX))
    for target in TARGETS:
        if arguments.only and target.name not in arguments.only:
            continue
        end = time.monotonic() + arguments.seconds
        try:
            count = exercise(target, SEED, lambda _, end=end: time.monotonic() < end)
        except Failure as failure:
            broken.append(f"python {failure}")
            continue
        report(f"python {target.name}", count, arguments.seconds)
        name = f"fuzz.python.{target.name}.inputs"
        metrics.append(metric(name, [count], "inputs", better="higher"))
    metrics.append(metric("fuzz.seconds", [arguments.seconds], "s", better="higher"))
    metrics.append(metric("fuzz.broken", [len(broken)], "decoders", goal=0))
    for each in broken:
        say(f"BROKEN  {each}")
    if arguments.report is not None:
        write(arguments.report, "fuzz", f"make fuzz SECONDS={arguments.seconds}", metrics)
    return 1 if broken else 0


def rust_targets() -> list[str]:
    """The programs, but for the planted one."""
    manifest = tomllib.loads((FUZZ / "Cargo.toml").read_text())
    return [each["name"] for each in manifest["bin"] if each["name"] != "planted"]


def build(features: Sequence[str]) -> None:
    """Build the programs. Raises `CalledProcessError`."""
    command = ["cargo", "+nightly", "build", "--release", "--quiet", "--target", TRIPLE]
    command += ["--manifest-path", str(FUZZ / "Cargo.toml"), *features]
    environment = {**os.environ, "RUSTFLAGS": INSTRUMENTED}
    environment["CARGO_TARGET_DIR"] = str(TARGET_DIRECTORY)
    subprocess.run(command, check=True, env=environment)


def under_libfuzzer(name: str, seconds: int) -> tuple[int, int, str]:
    """How many inputs a program was given in so many seconds, how many edges they reached, and
    the input that broke it or an empty text."""
    corpus, artifacts = FUZZ / "corpus" / name, FUZZ / "artifacts" / name
    for directory in (corpus, artifacts):
        directory.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            str(TARGET_DIRECTORY / TRIPLE / "release" / name),
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-rss_limit_mb={MEMORY_MIB_MAX}",
            f"-timeout={INPUT_S_MAX}",
            f"-seed={SEED}",
            f"-artifact_prefix={artifacts}/",
            "-print_final_stats=1",
        ],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "HM_FUZZ_SEEDS": str(corpus)},
        timeout=seconds + 300,
        check=False,
    )
    said = done.stderr
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    coverage = re.findall(r"cov: (\d+)", said)
    found = ""
    if done.returncode:
        where = re.search(r"Test unit written to (\S+)", said)
        found = where.group(1) if where else said[-2000:]
    return (int(count.group(1)) if count else 0), int(coverage[-1]) if coverage else 0, found


def planted() -> float:
    """How long it takes to find a planted bug, in seconds. Raises `RuntimeError` where it is not
    found: then nothing that this run says can be believed."""
    build(["--features", "planted", "--bin", "planted"])
    start = time.monotonic()
    _, _, found = under_libfuzzer("planted", PLANTED_S_MAX)
    if not found:
        raise RuntimeError(f"a planted bug was not found within {PLANTED_S_MAX} s")
    took_s = time.monotonic() - start
    say(f"the planted bug was found after {took_s:.1f} s")
    return took_s


def report(name: str, count: int, seconds: int, more: str = "") -> None:
    say(f"{name:32} {count:>9} inputs in {seconds} s{more}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
