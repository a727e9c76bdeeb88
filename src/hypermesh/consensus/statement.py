"""What has to be proven: seeds, challenges and draws, each derived from public values.

Nobody supplies a challenge. All of them follow from the genesis id, the epoch and its seed:

    seed(0)      = genesis id
    seed(e + 1)  = H(genesis, e + 1, hash of the block before the turn, y of the VDF over seed(e))
    challenge    = H(genesis, e, seed(e), node, kind)

The hash of a block alone could be ground by whoever makes the block; y costs sequential time. It is
known soon after the epoch begins, though, so a sequencer can still choose between last blocks: what
that gives it is in docs/explanation/consensus.md.

Pure. `H` is `digest_of` with a name of its own for each use.
"""

from __future__ import annotations

import msgspec

from hypermesh.crypto.digest import digest_of
from hypermesh.wire.block import Genesis
from hypermesh.wire.ids import GenesisId, Hash, NodeId
from hypermesh.wire.proof import ProofKind, VdfOutput


class Derived(msgspec.Struct, frozen=True):
    """How one value follows: `result` is `digest_of(function, [value for each input])`.

    An empty `function` means that the only input is the result.
    """

    proof: ProofKind
    what: str
    function: str
    inputs: list[tuple[str, bytes | int | str]]
    result: Hash


def founding_input(genesis: Genesis) -> Hash:
    """The VDF input of epoch 0: the digest of genesis without its VDF output."""
    return digest_of("genesis", msgspec.structs.replace(genesis, vdf=None))


def y_of(vdf: VdfOutput) -> bytes:
    """y alone: it is unique for an input, while a proof of it need not be."""
    return vdf.output[: len(vdf.output) // 2]


def first_seed(genesis_id: GenesisId) -> Derived:
    """The seed of epoch 0."""
    return Derived(ProofKind.TIME, "seed", "", [("genesis", genesis_id)], genesis_id)


def next_seed(genesis_id: GenesisId, epoch: int, previous: Hash, vdf: VdfOutput) -> Derived:
    """The seed of `epoch`, at least 1: from the hash of the last block of the epoch before and the
    VDF over that epoch's seed."""
    return _derived(
        ProofKind.TIME,
        "seed",
        "epoch-seed",
        [("genesis", genesis_id), ("epoch", epoch), ("previous", previous), ("y", y_of(vdf))],
    )


def challenge(
    genesis_id: GenesisId, epoch: int, seed: Hash, node: NodeId, kind: ProofKind
) -> Derived:
    """The challenge of one proof to one node in one epoch."""
    return _derived(
        kind,
        "challenge",
        "challenge",
        [
            ("genesis", genesis_id),
            ("epoch", epoch),
            ("seed", seed),
            ("node", node),
            ("kind", kind.value),
        ],
    )


def plot_id(genesis_id: GenesisId, node: NodeId, k: int) -> Derived:
    """The id that a node's plot must be made for: one network, one node, one size."""
    return _derived(
        ProofKind.SPACE, "plot", "plot", [("genesis", genesis_id), ("node", node), ("k", k)]
    )


def space_draw(space_challenge: Hash, index: int) -> Derived:
    """The challenge of draw `index` to the plot."""
    return _derived(
        ProofKind.SPACE,
        f"draw {index}",
        "space-draw",
        [("challenge", space_challenge), ("index", index)],
    )


def sampled_rows(work_challenge: Hash, root: Hash, size: int, count: int) -> list[int]:
    """Rows of this epoch's product that its own commitment draws."""
    return _rows("work-sample", work_challenge, root, size, count)


def opened_rows(work_challenge: Hash, root: Hash, size: int, count: int) -> list[int]:
    """Rows of the product committed to by `root` in an earlier bundle, drawn by the challenge of
    the epoch that opens them."""
    return _rows("work-opening", work_challenge, root, size, count)


def _rows(name: str, work_challenge: Hash, root: Hash, size: int, count: int) -> list[int]:
    """`count` distinct indexes below `size`, in the order drawn; `count` is at most `size`."""
    drawn: dict[int, None] = {}
    turn = 0
    while len(drawn) < count:
        value = digest_of(name, [work_challenge, root, turn])
        drawn.setdefault(int.from_bytes(value, "big") % size)
        turn += 1
    return list(drawn)


def _derived(
    proof: ProofKind, what: str, function: str, inputs: list[tuple[str, bytes | int | str]]
) -> Derived:
    result = digest_of(function, [value for _, value in inputs])
    return Derived(proof, what, function, inputs, result)
