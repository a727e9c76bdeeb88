"""What the four proofs cost on a network of each class."""

from __future__ import annotations

from hypermesh.consensus.verifier.time import DISCRIMINANT_BITS_MAX, DISCRIMINANT_BITS_STEP
from hypermesh.wire.amount import NANO
from hypermesh.wire.block import NetworkClass, ProofParameters
from hypermesh.wire.errors import InvalidInput, NotAvailable

ITERATIONS_MIN = 1_000
"""A Wesolowski proof of fewer squarings than its challenge prime has bits (264) is empty."""

MATRIX_SIZE_MAX = 4_096
"""Every verifier expands a whole matrix: 16 MiB of int8 at this size, 64 MiB as int32."""

_TEST = ProofParameters(
    epoch_ms=60_000,
    space_k=18,
    space_draws=16,
    space_valid_min=3,
    vdf_bits=512,
    # A third of a second on a server core, below one second on a slow laptop: a sequencer at rest
    # may use 2 % of a core, and the VDF is most of it.
    vdf_iterations=100_000,
    # The matrix decides the size of a bundle, and so the growth of the log: about 7 KB an epoch.
    matrix_size=128,
    matrix_rows_opened=4,
    bond_min=1 * NANO,
)


def parameters_of(network_class: NetworkClass) -> ProofParameters:
    """The parameters that a founder of `network_class` writes into genesis.

    Raises `NotAvailable` for `private` and `public`: their plots must take longer to make again
    than an answer may take, and nobody has measured that for them yet.
    """
    if network_class != NetworkClass.TEST:
        raise NotAvailable(
            f"Networks of class {network_class} cannot be founded yet",
            why="their plot size, VDF length and matrix size have not been measured",
            fix="Found a network of class test; its proofs show the mechanism only",
        )
    return _TEST


def checked(parameters: ProofParameters) -> ProofParameters:
    """`parameters`, or `InvalidInput` where no node could satisfy or verify them."""
    faults = [
        fault
        for fault, present in (
            (
                "space_valid_min is above space_draws",
                parameters.space_valid_min > parameters.space_draws,
            ),
            (
                "matrix_rows_opened is above matrix_size",
                parameters.matrix_rows_opened > parameters.matrix_size,
            ),
            (
                f"matrix_size is above {MATRIX_SIZE_MAX}",
                parameters.matrix_size > MATRIX_SIZE_MAX,
            ),
            (
                f"vdf_iterations is below {ITERATIONS_MIN}",
                parameters.vdf_iterations < ITERATIONS_MIN,
            ),
            (
                f"vdf_bits is not a multiple of {DISCRIMINANT_BITS_STEP}"
                f" up to {DISCRIMINANT_BITS_MAX}",
                parameters.vdf_bits % DISCRIMINANT_BITS_STEP != 0
                or parameters.vdf_bits > DISCRIMINANT_BITS_MAX,
            ),
        )
        if present
    ]
    if faults:
        raise InvalidInput("The proof parameters cannot be used", why="; ".join(faults))
    return parameters
