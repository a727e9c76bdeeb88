"""CAES the token: accounts, supply, escrow, and the module that executes `bank.*`."""
