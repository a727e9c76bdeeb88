"""A machine with a terminal: its own data directory, its own working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HM = Path(sys.executable).with_name("hm")
TIMEOUT_S = 90

Done = subprocess.CompletedProcess[bytes]


@dataclass
class Machine:
    directory: Path
    name: str
    data: Path = field(init=False)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = self.directory / self.name

    @property
    def environment(self) -> dict[str, str]:
        """That of a user of this machine, whatever who runs the tests has configured."""
        kept = {name: value for name, value in os.environ.items() if "HYPERMESH" not in name}
        return {
            **kept,
            "HYPERMESH_DATA": str(self.data),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
            "TZ": "UTC",
            **self.variables,
        }

    def run(self, *command: str, stdin: bytes = b"") -> Done:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            env=self.environment,
            timeout=TIMEOUT_S,
            check=False,
        )

    def hm(self, *words: str, stdin: bytes = b"") -> Done:
        return self.run(str(HM), *words, stdin=stdin)

    def succeeds(self, *words: str, stdin: bytes = b"") -> Done:
        done = self.hm(*words, stdin=stdin)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def json(self, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        """The JSON that a command prints; nothing is on stderr."""
        done = self.succeeds(*words, "--output", "json", stdin=stdin)
        assert done.stderr == b""
        document: dict[str, Any] = json.loads(done.stdout)
        assert document.pop("schema_version") == 1
        return document

    def fails(self, *words: str, exit_code: int, stdin: bytes = b"") -> str:
        """What a failing command says on stderr, for people; nothing is on stdout."""
        done = self.hm(*words, stdin=stdin)
        said = done.stderr.decode()
        assert done.returncode == exit_code, (words, done.stdout, said)
        assert done.stdout == b""
        assert "Traceback" not in said
        assert "Error: " in said
        return said

    def problem(self, *words: str, exit_code: int, stdin: bytes = b"") -> dict[str, Any]:
        """The problem object of a command that fails under `--output json`."""
        done = self.hm(*words, "--output", "json", stdin=stdin)
        assert done.returncode == exit_code, (words, done.stdout, done.stderr)
        assert done.stdout == b""
        details: dict[str, Any] = json.loads(done.stderr)
        assert details.pop("schema_version") == 1
        assert details["exit_code"] == exit_code
        assert details["type"] == f"urn:hypermesh:error:{details['code']}"
        assert details["detail"]
        return details
