"""What `benches/core.py` measures, one module a noun. Each gives metrics and no verdict of its own.

Where a figure depends on the machine, its baseline runs in turn with it, sample by sample, so that
both see the same load.
"""
