"""The provers: what a node does to satisfy its own `ConsensusProof`.

The shell of this package: files, processes and time limits live here and nowhere else in it. All
calls block; run them beside an event loop, not in it. A prover decides nothing: what it makes is
judged by the verifiers of every node, its own first.
"""
