"""A cache in another machine's memory: results that are dear to compute and cheap to fetch.

python remote_cache.py

A fixed number of slots; a key has one, by its digest, and whoever writes there last wins. Nothing
is lost with a cache: where the machine that holds it goes away, results are computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import hypermesh as hm

SLOT_BYTES = 4096
DIGEST_BYTES = 32
LENGTH_BYTES = 4
ROOM = SLOT_BYTES - DIGEST_BYTES - LENGTH_BYTES


class RemoteCache:
    """A cache over a leased region. A slot is the key's digest, the value's length, the value."""

    def __init__(self, region: hm.LeasedRegion) -> None:
        self._region = region
        self._slots = len(region) // SLOT_BYTES
        self.hits = 0
        self.misses = 0

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value of `key`, which JSON can say: from the cache, else computed and put there."""
        digest = hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES).digest()
        place = int.from_bytes(digest[:8], "big") % self._slots * SLOT_BYTES
        try:
            found = self._region.read(place, SLOT_BYTES)
        except hm.ProviderLost:
            return compute()
        head = DIGEST_BYTES + LENGTH_BYTES
        if found[:DIGEST_BYTES] == digest:
            self.hits += 1
            length = int.from_bytes(found[DIGEST_BYTES:head], "big")
            return json.loads(found[head : head + length])
        self.misses += 1
        value = compute()
        said = json.dumps(value).encode()
        if len(said) <= ROOM:
            length = len(said).to_bytes(LENGTH_BYTES, "big")
            self._region.write(place, digest + length + said)
        return value


def factors(number: int) -> list[int]:
    """The prime factors of a number, slowly."""
    found = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found


def main() -> None:
    numbers = [97 * 89, 1_000_003, 97 * 89, 600_851_475_143, 1_000_003, 97 * 89]
    with hm.connect() as mesh, mesh.memory.lease("1MiB") as region:
        cache = RemoteCache(region)
        for number in numbers:
            value = cache.get(f"factors of {number}", lambda n=number: factors(n))
            print(number, "=", " * ".join(map(str, value)))
        print(f"{cache.hits} from {region.lease.provider_name}'s memory, {cache.misses} computed")


if __name__ == "__main__":
    main()
