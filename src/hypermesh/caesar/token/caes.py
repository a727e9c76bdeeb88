"""CAES as a whole: what exists, where it is, and that it adds up."""

from __future__ import annotations

from hypermesh.caesar.token import accounts, escrow, supply
from hypermesh.ledger.module import InvariantBroken, State
from hypermesh.wire.ids import OwnerId


class CaesarToken:
    """The token as it stands in one state. Reads only; all figures are sums of the ledger, in
    nCAES."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def anchor(self) -> str:
        """What stands behind the unit; "none" means test units without a peg."""
        return supply.supply(self._state).anchor

    @property
    def supply(self) -> int:
        """All units that exist."""
        return supply.supply(self._state).amount

    @property
    def circulating(self) -> int:
        """All units that have left the faucet."""
        return self.supply - self.balance(accounts.FAUCET)

    def balance(self, account: OwnerId) -> int:
        """What `account` holds."""
        return accounts.balance(self._state, account)

    def module_balances(self) -> dict[str, int]:
        """What each module account holds, by its name."""
        return {name: self.balance(account) for name, account in accounts.MODULE_ACCOUNTS.items()}

    def require_conserved(self) -> None:
        """Raise `InvariantBroken` where the running sums disagree; constant time."""
        supply.require_conserved(self._state)
        escrow.require_covered(self._state)

    def audit(self) -> None:
        """Add up every account and every escrow from its rows, and raise `InvariantBroken` where
        they differ from the running sums or the supply. Time grows with the number of rows."""
        held = sum(amount for _, amount in accounts.balances(self._state))
        if held != self.supply:
            raise InvariantBroken(
                "CAES is not conserved",
                why=f"the accounts hold {held} nCAES, the supply is {self.supply}",
            )
        escrowed = sum(row.amount for _, row in escrow.escrows(self._state))
        if escrowed != self.balance(accounts.ESCROW):
            raise InvariantBroken(
                "The escrow account does not match the open escrows",
                why=f"it holds {self.balance(accounts.ESCROW)} nCAES, they are {escrowed}",
            )
        self.require_conserved()
