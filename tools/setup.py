"""Make this checkout ready to run, on a machine with Python 3.11+ and Rust. Standard library only.

Each step says what it does and is skipped where it was done before: the virtual environment from
the hashed lock file, bubblewrap from Debian where we may, the native extension.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / "stamps"
RUST_INSTALL = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
SANDBOX_INSTALL = ["apt-get", "install", "--yes", "--quiet", "bubblewrap"]


def main() -> int:
    os.chdir(ROOT)
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what says so)
        return fail(
            f"HyperMesh needs Python 3.11 or newer; {sys.executable} is "
            f"{sys.version_info.major}.{sys.version_info.minor}",
            "make PYTHON=/path/to/python3.11 ...",
        )
    if shutil.which("cargo") is None:
        return fail(
            "HyperMesh needs Rust to build its core, and `cargo` is not there", RUST_INSTALL
        )
    environment()
    sandbox()
    extension()
    return 0


def environment() -> None:
    """The virtual environment, exactly as locked."""
    stamp = fingerprint([ROOT / "requirements.txt"], salt=sys.version)
    if done("environment", stamp):
        return
    say("Installing the Python dependencies into .venv (about half a minute)")
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, with_pip=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    lock = ROOT / "requirements.txt"
    run([VENV / "bin" / "pip", "install", *quiet, "--require-hashes", "-r", lock])
    finish("environment", stamp)


def sandbox() -> None:
    """bubblewrap, which isolates Python jobs. Without it such jobs are refused, nothing else."""
    if shutil.which("bwrap") is not None or done("sandbox", "asked"):
        return
    command = SANDBOX_INSTALL
    if os.geteuid() != 0:
        allowed = shutil.which("sudo") and not subprocess.call(
            ["sudo", "-n", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if not allowed:
            advise(command)
            return
        command = ["sudo", "-n", *command]
    if shutil.which("apt-get") is None:
        advise(command)
        return
    say("Installing bubblewrap from Debian (it isolates Python jobs)")
    update = [*command[: command.index("install")], "update", "--quiet"]
    if subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        subprocess.call(update, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if subprocess.call(command, stdout=subprocess.DEVNULL):
            advise(command)
            return
    say("bubblewrap is there")


def advise(command: list[str]) -> None:
    say("bubblewrap is missing, so Python jobs will be refused. To add it:")
    say(f"  sudo {' '.join(command)}")
    STAMPS.mkdir(parents=True, exist_ok=True)
    finish("sandbox", "asked")


def extension() -> None:
    """The native extension, built where its sources changed."""
    sources = sorted(p for p in (ROOT / "crates").rglob("*") if p.is_file())
    stamp = fingerprint(
        [*sources, ROOT / "Cargo.toml", ROOT / "Cargo.lock", ROOT / "pyproject.toml"]
    )
    built = list((ROOT / "src" / "hypermesh").glob("_native*.so"))
    if built and done("extension", stamp):
        return
    say("Building the native extension (one to three minutes the first time)")
    run([VENV / "bin" / "maturin", "develop", "--release", "--quiet", "--locked"])
    finish("extension", stamp)


def fingerprint(files: list[Path], salt: str = "") -> str:
    whole = hashlib.sha256(salt.encode())
    for file in files:
        whole.update(str(file.relative_to(ROOT)).encode() + b"\0")
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def done(step: str, stamp: str) -> bool:
    file = STAMPS / step
    return file.exists() and file.read_text() == stamp


def finish(step: str, stamp: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / step).write_text(stamp)


def run(command: list[object]) -> None:
    words = [str(word) for word in command]
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "PIP_QUIET": "1"}
    if status := subprocess.call(words, env=environment):
        sys.exit(fail(f"`{' '.join(words)}` ended with status {status}", "see the lines above"))


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def fail(what: str, fix: str) -> int:
    print(f"setup: {what}\n       {fix}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
