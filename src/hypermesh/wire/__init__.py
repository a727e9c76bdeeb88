"""Everything that crosses a process boundary: encoding, identifiers, amounts, transactions, frames.

Pure: no input or output, no clock, no randomness, no cryptography. Each submodule holds one noun;
import from the submodule, so that the name says where a thing lives.
"""
