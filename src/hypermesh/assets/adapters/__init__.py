"""One adapter for each kind of asset: what the machine has of it, how it is set aside, what was
used."""
