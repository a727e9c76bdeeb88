"""What `benches/stoq.py` measures: STOQ and the transports beside it, each end a process of its
own, in turns within one run."""
