"""The certificate authority of one network: its keys, what it issued, whom it invited.

Everything it hands out is on the disk first, and asking again gives the same bytes: a crash between
two steps, or a lost answer, is repaired by repeating the request.
"""
