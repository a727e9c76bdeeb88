"""The ways a program can run. Enter through `ladder`."""
