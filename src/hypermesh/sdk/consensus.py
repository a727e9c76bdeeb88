"""What the proofs of this network are worth: `mesh.consensus`."""

from __future__ import annotations

from hypermesh.sdk.call import Call
from hypermesh.sdk.rest import AsyncRest, Rest
from hypermesh.wire.api.consensus import (
    ChallengeRequest,
    ChallengeView,
    ConsensusStatus,
    ValidateRequest,
    ValidateView,
)


def status() -> Call[ConsensusStatus]:
    return Call(ConsensusStatus, "GET", "/consensus/status")


def challenges(node: str | None = None) -> Call[list[ChallengeView]]:
    body = ChallengeRequest(node=node)
    return Call(list[ChallengeView], "POST", "/consensus/challenge", body)


def validate(
    *, bundle: bytes | None = None, transaction: bytes | None = None
) -> Call[ValidateView]:
    body = ValidateRequest(
        bundle=None if bundle is None else bundle.hex(),
        transaction=None if transaction is None else transaction.hex(),
    )
    return Call(ValidateView, "POST", "/consensus/validate", body)


class Consensus:
    """`mesh.consensus`."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def status(self) -> ConsensusStatus:
        """What the proofs of this network are worth, and how far the ledger is."""
        return self._rest.run(status())

    def challenges(self, node: str | None = None) -> list[ChallengeView]:
        """How the present challenges of a node (this one by default) follow from the ledger."""
        return self._rest.run(challenges(node))

    def validate(
        self, *, bundle: bytes | None = None, transaction: bytes | None = None
    ) -> ValidateView:
        """Check an encoded `Bundle` or `SignedTransaction` against the present state; nothing is
        submitted."""
        return self._rest.run(validate(bundle=bundle, transaction=transaction))


class AsyncConsensus:
    """As `Consensus`, for asyncio."""

    def __init__(self, rest: AsyncRest) -> None:
        self._rest = rest

    async def status(self) -> ConsensusStatus:
        """As `Consensus.status`."""
        return await self._rest.run(status())

    async def challenges(self, node: str | None = None) -> list[ChallengeView]:
        """As `Consensus.challenges`."""
        return await self._rest.run(challenges(node))

    async def validate(
        self, *, bundle: bytes | None = None, transaction: bytes | None = None
    ) -> ValidateView:
        """As `Consensus.validate`."""
        return await self._rest.run(validate(bundle=bundle, transaction=transaction))
