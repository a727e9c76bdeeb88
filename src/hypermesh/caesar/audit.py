"""Whether the economy adds up: by its running sums, and by every row."""

from __future__ import annotations

from hypermesh.caesar.economics import staking
from hypermesh.caesar.token.caes import CaesarToken
from hypermesh.ledger.module import State


def require_sound(state: State) -> None:
    """Raise `InvariantBroken` where the running sums disagree: what the modules' `check` asks at
    every block. Constant time."""
    CaesarToken(state).require_conserved()
    staking.require_covered(state)


def audit(state: State) -> None:
    """Raise `InvariantBroken` at the first account, escrow, bond or unbonding that does not add up.

    The modules' `check` compares running sums at every block in constant time and trusts that each
    row was written together with its sum. This trusts nothing but the rows; it is for after a
    replay, for `hm verify`, and for tests.
    """
    CaesarToken(state).audit()
    staking.audit(state)
