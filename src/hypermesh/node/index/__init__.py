"""A read model of the ledger, fed from its blocks: what happened to whom. Never the truth.

`movements` says what an event moved, `database` keeps it in SQLite, `index` feeds the one from the
other and follows the ledger. The file can be removed at any time: it is built again.
"""
