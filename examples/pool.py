"""My machines as a pool: one job on each machine's CPU, side by side.

python pool.py
"""

from __future__ import annotations

import msgspec

import hypermesh as hm
from hypermesh.sdk.job import program
from hypermesh.wire.asset import AssetKind

NANO = 10**9
CORES = 0.25
COUNT = "print(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, 20_000)))"


def main() -> None:
    with hm.connect() as mesh:
        cpus = [each for each in mesh.assets.list(AssetKind.CPU) if each.free]
        for each in cpus:
            print(f"{each.host_name:<12} {each.free / 1000:g} cores free, {each.level}")

        job = program(COUNT, cpu_millicores=int(CORES * 1000))
        running = [
            mesh.jobs.submit(msgspec.structs.replace(job, asset=each.asset)) for each in cpus
        ]
        cost = 0
        for each in running:
            done = each.result(timeout_s=60)
            cost += (done.paid or 0) + (done.fee or 0)
            found = done.stdout.strip()
            print(f"{done.provider_name:<12} found {found} primes in {done.wall_ms:.0f} ms")
        print(f"together {cost / NANO:.9f} CAES")


if __name__ == "__main__":
    main()
