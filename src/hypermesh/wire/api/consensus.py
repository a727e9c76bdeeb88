"""Challenges, proofs and verdicts as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32


class ConsensusStatus(msgspec.Struct, frozen=True):
    """`GET /consensus/status`: what the proofs of this network are worth, and how far it is."""

    network_class: str
    epoch: int
    seed: Hex32
    seed_origin: str
    space_k: int
    plot_bytes: int
    draws: int
    draws_valid_min: int
    vdf_bits: int
    vdf_iterations: int
    matrix_size: int
    assurance: str
    height: int
    app_hash: Hex32
    attested_nodes: int


class ChallengeRequest(Body, frozen=True):
    """`POST /consensus/challenge`: the present challenges of a node (this one by default)."""

    node: Hex32 | None = None


class InputView(msgspec.Struct, frozen=True):
    """One input of a derivation: `bytes` are hex in `value`, an `integer` is decimal there."""

    name: str
    type: Literal["bytes", "integer", "text"]
    value: str


class ChallengeView(msgspec.Struct, frozen=True):
    """How one value follows: `result` is BLAKE3 derive_key, with `function` as its context, over
    `encoded`, which is the canonical encoding of the list of `inputs`, as hex. Without a function
    the only input is the result."""

    proof: str
    what: str
    function: str
    inputs: list[InputView]
    encoded: str
    result: Hex32


class ValidateRequest(Body, frozen=True):
    """`POST /consensus/validate`: a canonical `Bundle` or `SignedTransaction` as hex; a dry run."""

    bundle: Annotated[str, Meta(max_length=512 * 1024)] | None = None
    transaction: Annotated[str, Meta(max_length=512 * 1024)] | None = None


class FailureView(msgspec.Struct, frozen=True):
    """Why one proof is refused."""

    proof: str
    reason: str


class ValidateView(msgspec.Struct, frozen=True):
    """The verdict; every failure is listed, not only the first."""

    valid: bool
    failures: list[FailureView]
