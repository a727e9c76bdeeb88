"""`python -m hypermesh.standalone.trust`."""

from __future__ import annotations

import sys

from hypermesh.standalone.trust.server import main

sys.exit(main())
