"""Fuzz targets of the decoders in Python, and the inputs that they get."""
