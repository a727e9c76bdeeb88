"""How long a page of a list is."""

from __future__ import annotations

from typing import Annotated

from litestar.params import Parameter

PAGE_DEFAULT = 50
PAGE_MAX = 500

Limit = Annotated[int, Parameter(ge=1, le=PAGE_MAX)]
