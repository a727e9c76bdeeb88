"""The ledger: a deterministic kernel driven by an engine, with modules that hold the rules.

The kernel imports no module; `node` passes it an ordered list. Whoever re-executes the same
`BlockInput`s from the same genesis reaches the same app hash.
"""
