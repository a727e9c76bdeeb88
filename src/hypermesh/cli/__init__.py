"""The command line: `hm`. A client of the SDK, but for starting a node."""
