"""The state tree: one hash over all rows, whose shape depends on their content alone.

A key belongs to the bucket numbered by the first 16 bits of its digest. A bucket's hash covers the
encoded list of its (key, digest of value) pairs in ascending order of keys; an empty bucket is the
empty list. A dense Merkle tree of depth 16 covers the 65,536 buckets, so the whole content of one
bucket and 16 siblings show that a key has a value, or that it has none.

    key digest     digest("state-key", key)            bucket = its first two bytes, big-endian
    value digest   digest("state-value", value)
    bucket hash    digest("state-bucket", encode([(key, value digest), ...]))
    node           digest("state-node", left || right)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from hypermesh.crypto.digest import digest, digest_many
from hypermesh.ledger.errors import ProofInvalid
from hypermesh.wire.block import BucketProof
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import Hash

DEPTH = 16
BUCKETS = 1 << DEPTH
_SIZE = 32

Entries: TypeAlias = list[tuple[bytes, Hash]]
"""The (key, digest of value) pairs of one bucket, by ascending key."""


def bucket_of(key: bytes) -> int:
    """The number of the bucket that `key` belongs to."""
    first = digest("state-key", key)
    return first[0] << 8 | first[1]


def value_digest(value: bytes) -> Hash:
    """What stands for `value` in its bucket."""
    return digest("state-value", value)


def _node(left: bytes, right: bytes) -> Hash:
    return digest("state-node", left + right)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it is stored: its encoded entries, and their hash."""

    entries: bytes
    hash: Hash

    @classmethod
    def of(cls, entries: Sequence[tuple[bytes, Hash]]) -> Bucket:
        data = encode(entries)
        return cls(data, digest("state-bucket", data))


EMPTY = Bucket.of([])


@dataclass(frozen=True, slots=True)
class Step:
    """The nodes that a change gives new hashes, by level from the buckets up, and the new root."""

    levels: tuple[Mapping[int, Hash], ...]
    root: Hash


class Tree:
    """The hashes of all buckets and of the nodes above them, in 4 MiB of memory.

    `step` is pure: it computes what a change of buckets leads to. `take` makes it so, once the
    change is durable.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = []
        hash_ = EMPTY.hash
        for level in range(DEPTH + 1):
            self._levels.append(bytearray(hash_ * (BUCKETS >> level)))
            hash_ = _node(hash_, hash_)

    @classmethod
    def of(cls, buckets: Mapping[int, Hash]) -> Tree:
        """The tree over the given hashes; every other bucket is empty."""
        tree = cls()
        tree.take(tree.step(buckets))
        return tree

    @property
    def root(self) -> Hash:
        """The hash over all rows: the app hash."""
        return bytes(self._levels[DEPTH])

    def step(self, buckets: Mapping[int, Hash]) -> Step:
        """The nodes that change when `buckets` (number to hash) take the place of those before."""
        if not buckets:
            return Step((), self.root)
        levels: list[Mapping[int, Hash]] = [buckets]
        below = buckets
        for level in self._levels[:DEPTH]:
            parents = list({index >> 1 for index in below})
            pairs = []
            for parent in parents:
                place = parent * 2 * _SIZE
                left = below.get(parent * 2) or bytes(level[place : place + _SIZE])
                right = below.get(parent * 2 + 1) or bytes(level[place + _SIZE : place + 2 * _SIZE])
                pairs.append(left + right)
            below = dict(zip(parents, digest_many("state-node", pairs), strict=True))
            levels.append(below)
        return Step(tuple(levels), below[0])

    def take(self, step: Step) -> None:
        """Apply a step that was computed from this very tree."""
        for level, nodes in zip(self._levels, step.levels, strict=False):
            for index, hash_ in nodes.items():
                level[index * _SIZE : (index + 1) * _SIZE] = hash_

    def path(self, bucket: int) -> list[Hash]:
        """The siblings from `bucket` to the root, lowest first."""
        siblings = []
        for level in self._levels[:DEPTH]:
            place = (bucket ^ 1) * _SIZE
            siblings.append(bytes(level[place : place + _SIZE]))
            bucket >>= 1
        return siblings


class Base(Protocol):
    """A committed state: what a block starts from. It does not change while a block executes."""

    @property
    def tree(self) -> Tree: ...

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...

    def bucket(self, index: int) -> Entries:
        """The entries of one bucket."""
        ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What leads from one committed state to the next. All of it is stored in one transaction.

    `rows` maps a key to its value, or to None where the row goes.
    """

    rows: Mapping[bytes, bytes | None]
    buckets: Mapping[int, Bucket]
    step: Step


def changes(base: Base, writes: Mapping[bytes, bytes | None]) -> Changes:
    """What `writes` change in `base`. Writing what is there already changes nothing."""
    touched: dict[int, list[bytes]] = {}
    for key in writes:
        touched.setdefault(bucket_of(key), []).append(key)
    rows: dict[bytes, bytes | None] = {}
    buckets: dict[int, Bucket] = {}
    for number, keys in touched.items():
        entries = dict(base.bucket(number))
        changed = False
        for key in keys:
            value = writes[key]
            present = entries.get(key)
            if value is None:
                if present is None:
                    continue
                del entries[key]
            else:
                wanted = value_digest(value)
                if wanted == present:
                    continue
                entries[key] = wanted
            rows[key] = value
            changed = True
        if changed:
            buckets[number] = Bucket.of(sorted(entries.items()))
    step = base.tree.step({number: bucket.hash for number, bucket in buckets.items()})
    return Changes(rows, buckets, step)


def prove(base: Base, key: bytes) -> BucketProof:
    """Shows what `base` holds, or does not hold, under `key`."""
    number = bucket_of(key)
    return BucketProof(key, base.bucket(number), base.tree.path(number))


def check_proof(root: Hash, proof: BucketProof, value: bytes | None) -> None:
    """Return where `proof` shows, under `root`, that `proof.key` has `value`, or no value for None.

    Raises `ProofInvalid` and says which step fails. Needs nothing but its arguments.
    """
    if len(proof.siblings) != DEPTH:
        raise ProofInvalid(
            "The proof does not hold", why=f"it has {len(proof.siblings)} siblings, not {DEPTH}"
        )
    found = dict(proof.entries).get(proof.key)
    if value is None:
        if found is not None:
            raise ProofInvalid("The row is there", why="the bucket has an entry for its key")
    elif found is None:
        raise ProofInvalid("The row is not there", why="the bucket has no entry for its key")
    elif found != value_digest(value):
        raise ProofInvalid("The row has another value", why="its digest in the bucket differs")
    number = bucket_of(proof.key)
    hash_ = Bucket.of(proof.entries).hash
    for sibling in proof.siblings:
        hash_ = _node(sibling, hash_) if number & 1 else _node(hash_, sibling)
        number >>= 1
    if hash_ != root:
        raise ProofInvalid("The proof does not hold", why="it leads to another root")
