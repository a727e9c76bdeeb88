"""PostgreSQL as the stores of this project use it: a connection that comes back, one transaction at
a time, a claim that one process has. It knows no table.

`psycopg` is not always installed (the extra `postgresql` has it), so only what is told to use a
database of this kind imports `session`; `place` and `errors` are for everybody.
"""
