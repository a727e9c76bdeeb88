"""Without its sequencer a follower reads on, says how old its reads are, and refuses writes."""

from __future__ import annotations

import pytest

from hypermesh.ledger.errors import LedgerUnavailable
from hypermesh.wire.tx import BankTransfer

from .network import Network, eventually, hm, problem


def _age(network: Network) -> int:
    age = network.bob.ask(lambda m: m.network.status()).contact_age_ms
    assert age is not None
    return age


def test_reads_go_on_and_writes_fail_until_the_sequencer_is_back(shaken: Network) -> None:
    before = shaken.await_agreed()
    shaken.alice.kill()

    first = _age(shaken)
    eventually(lambda: _age(shaken) > first + 3_500, "the age of the last contact grows")
    status = shaken.bob.ask(lambda m: m.network.status())
    assert (status.height, status.app_hash) == before
    assert len(shaken.bob.ask(lambda m: list(m.assets.list()))) >= 6

    with pytest.raises(LedgerUnavailable) as refused:
        shaken.bob.submit(BankTransfer(shaken.carol.membership.owner, 1, ""))
    assert refused.value.fix
    done = hm("memory", "put", shaken.carol.asset_address, data=shaken.bob.data, stdin=b"x")
    assert done.returncode == 7, problem(done)
    assert "HM-LEDGER-0007" in problem(done)

    shaken.alice.start()
    owner = shaken.bob.membership.owner.hex()
    eventually(lambda: _writes(shaken), "bob's writes work again")
    shaken.await_agreed()
    assert shaken.bob.ask(lambda m: m.accounts.get(owner)).balance > 0


def _writes(network: Network) -> bool:
    try:
        answer = network.bob.submit(BankTransfer(network.carol.membership.owner, 1, ""))
    except LedgerUnavailable:
        return False
    return answer.code == "ok"


def test_an_old_member_starts_for_reads_while_the_sequencer_is_away(shaken: Network) -> None:
    shaken.await_agreed()
    shaken.alice.kill()
    shaken.bob.stop()
    shaken.bob.start()
    status = shaken.bob.ask(lambda m: m.network.status())
    assert status.height > 0
    assert status.contact_age_ms is not None
    with pytest.raises(LedgerUnavailable):
        shaken.bob.submit(BankTransfer(shaken.carol.membership.owner, 1, ""))
    shaken.alice.start()
    eventually(lambda: _writes(shaken), "bob's writes work again")
    shaken.await_agreed()
