"""Statements that are written for SQLite as well."""

from __future__ import annotations

import functools


@functools.cache
def marked(query: str) -> str:
    """`query`, whose marks for values are `?`, with those that psycopg wants; there are few
    queries, and none has either mark in a string."""
    return query.replace("?", "%s")
