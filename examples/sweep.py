"""A parameter sweep: one function over a grid of inputs, on all machines of the pool.

python sweep.py [--points N]

Gradient descent on Rosenbrock's valley, for N rates by N momenta; which pair gets lowest?
"""

from __future__ import annotations

import argparse
import itertools
import sys

import hypermesh as hm


@hm.function(cpu="250m", memory="128MiB", timeout="60s")
def descend(settings):
    """How low 2,000 steps get. Its text travels: it needs nothing outside itself."""
    rate, momentum = settings
    x, y, dx, dy = -1.5, 2.0, 0.0, 0.0
    for _ in range(2000):
        gx = -2 * (1 - x) - 400 * x * (y - x * x)
        gy = 200 * (y - x * x)
        dx, dy = momentum * dx - rate * gx, momentum * dy - rate * gy
        x, y = x + dx, y + dy
        if abs(x) > 1e6 or abs(y) > 1e6:
            return [rate, momentum, None]
    return [rate, momentum, (1 - x) ** 2 + 100 * (y - x * x) ** 2]


def progress(done: int, total: int | None) -> None:
    print(f"\r{done} of {total}", end="", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=4)
    points = parser.parse_args().points
    rates = [0.0001 * 2**n for n in range(points)]
    momenta = [0.9 * n / max(points - 1, 1) for n in range(points)]
    grid = list(itertools.product(rates, momenta))
    results = list(descend.map(grid, concurrency=4, progress=progress))
    print(file=sys.stderr)
    reached = [each for each in results if each[2] is not None]
    for rate, momentum, height in sorted(reached, key=lambda each: each[2])[:3]:
        print(f"rate {rate:.4f}  momentum {momentum:.2f}  reaches {height:.2e}")
    print(f"{len(grid)} tried, {len(grid) - len(reached)} ran away")


if __name__ == "__main__":
    main()
