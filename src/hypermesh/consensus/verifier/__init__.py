"""The four verifiers, one module a proof, and their combination. Pure: values in, failures out.

Each of `ProofOfSpace`, `ProofOfStake`, `ProofOfWork` and `ProofOfTime` states what one node must
prove in one epoch, derived from the ledger; its `failures(bundle)` lists every reason why a bundle
does not prove it. `ConsensusProof` is all four.
"""
