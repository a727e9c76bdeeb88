"""A sandboxed Python job through the catalog's ladder, against bubblewrap by itself.

Three in turn: the job, with its cgroup, limits, system call filter, pumps and meter; the same
program by the same interpreter under bubblewrap alone; and an empty program under bubblewrap, which
shows what of the second is Python starting.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable

from result import Metric, metric, percentile

from hypermesh.catalog.engines.ladder import Ladder
from hypermesh.catalog.sandbox import bubblewrap
from hypermesh.wire.rpc import JobLimits, JobRequest

JOBS = 300
WARM = 5
GOAL_MS = 5.0
PROGRAM = "print(6 * 7)"
STDOUT = b"42\n"
LIMITS = JobLimits(cpu_millicores=1000, memory_bytes=64 << 20, wall_ms=10_000, output_bytes=4096)
ENGINE = "python"


def measure(jobs: int = JOBS) -> list[Metric]:
    interpreter = bubblewrap.find().interpreter
    alone = bare(interpreter)
    ladder = Ladder.open(f"bench-{secrets.token_hex(4)}")
    job, python, empty = "core.job.p95", "core.job.bwrap_python", "core.job.bwrap_true"
    runs: dict[str, Callable[[], None]] = {
        job: lambda: through(ladder),
        python: lambda: ran([*alone, str(interpreter.program), "-I", "-S", "-c", PROGRAM], STDOUT),
        empty: lambda: ran([*alone, "/bin/true"], b""),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    try:
        for turn in range(WARM + jobs):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                if turn >= WARM:
                    taken[name].append((time.perf_counter() - started) * 1000)
    finally:
        ladder.close()
    p95 = {name: percentile(samples, 0.95) for name, samples in taken.items()}
    over = [mine - theirs for mine, theirs in zip(taken[job], taken[python], strict=True)]
    return [
        metric(job, taken[job], "ms", value=p95[job], baseline=python),
        metric(python, taken[python], "ms", value=p95[python]),
        metric(empty, taken[empty], "ms", value=p95[empty]),
        metric(
            "core.job.p95_over_bwrap",
            over,
            "ms",
            value=p95[job] - p95[python],
            goal=GOAL_MS,
            baseline=python,
        ),
        metric("core.job.p50", taken[job], "ms", baseline=python),
    ]


def through(ladder: Ladder) -> None:
    """The job as a provider runs it."""
    result = ladder.run(JobRequest(bytes(32), 0, ENGINE, PROGRAM.encode(), [], b"", LIMITS))
    if (result.exit_code, result.stdout) != (0, STDOUT):
        raise SystemExit(f"the job answered {result}")


def ran(command: list[str], stdout: bytes) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    if done.stdout != stdout:
        raise SystemExit(f"{command[0]} answered {done.stdout!r}")


def bare(interpreter: bubblewrap.Interpreter) -> list[str]:
    """Bubblewrap with every namespace and nothing else."""
    line = [bubblewrap.PROGRAM, "--unshare-all", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64"):
        line += ["--symlink", f"usr/{name}", f"/{name}"]
    for source, target in interpreter.binds:
        line += ["--ro-bind", str(source), str(target)]
    line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/work", "--chdir", "/work"]
    return [*line, "--die-with-parent", "--new-session", "--clearenv", "--"]
