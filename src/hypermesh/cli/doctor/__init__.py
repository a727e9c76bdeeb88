"""`hm doctor`: what is wrong with this machine or its node, and how to put it right.

`collect` looks, `facts` says what was seen, and `checks` decides, purely.
"""
