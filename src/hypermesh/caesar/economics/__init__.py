"""What acts on the token: staking."""
