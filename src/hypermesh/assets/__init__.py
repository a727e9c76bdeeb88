"""Assets: what a machine lends, to whom, and the leases on it.

Rules of the ledger (`registry`, `lease`), the hosting node's own decision (`privacy`, `provider`),
what this machine has (`inventory`, `discovery`) and how it is set aside (`adapters`).
"""
