"""The checks of `hm doctor`. Pure: from facts to findings.

Each check has an id, which is stable and for programs, and a title. It returns a finding where
there is something to say, and None where all is well or nothing can be known. A note is no fault:
it tells what a cautious owner would want to know.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from hypermesh.cli.doctor.facts import Database, Facts

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
CERTIFICATE_CLOSE_MS = 7 * HOUR_MS
"""A node renews 8 h before the end, so with less than 7 h left renewing has been failing."""
CLOCK_OFF_MS = MINUTE_MS
SILENT_MS = 30_000
"""A follower asks every 10 s."""
INDEX_BEHIND_BLOCKS = 100
DISK_FULL_BYTES = 64 << 20
DISK_LOW_BYTES = 1 << 30
DISK_LOW_SHARE = 0.03
FILES_MIN = 1024
MEMORY_FREE_MIN = 256 << 20
UDP_BUFFER_BYTES = 4 << 20
"""What STOQ asks for (`crates/stoq/src/limits.rs`)."""


class State(enum.StrEnum):
    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`why` is what was seen, `fix` a command to paste where one helps."""

    state: State
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    id: str
    title: str
    run: Callable[[Facts], Finding | None]


def fail(why: str, fix: str) -> Finding:
    return Finding(State.FAIL, why, fix)


def warn(why: str, fix: str) -> Finding:
    return Finding(State.WARN, why, fix)


def note(why: str, fix: str) -> Finding:
    return Finding(State.NOTE, why, fix)


def configuration(facts: Facts) -> Finding | None:
    trouble, fix = facts.configuration_trouble
    return fail(trouble, fix) if trouble else None


def settings(facts: Facts) -> Finding | None:
    if not facts.settings_trouble:
        return None
    return fail(facts.settings_trouble, f"Correct or remove {facts.settings_file}")


def directory(facts: Facts) -> Finding | None:
    seen = facts.directory
    if seen.mode is None:
        if seen.trouble:
            return fail(seen.trouble, "Choose another with --data")
        return note(f"{seen.path} does not exist yet", "hm up")
    if seen.user != facts.machine.user:
        return fail(
            f"{seen.path} belongs to user {seen.user}, and this is user {facts.machine.user}",
            f"chown -R {facts.machine.user} {seen.path}",
        )
    if seen.trouble:
        return fail(seen.trouble, f"chmod 700 {seen.path}, or choose another with --data")
    if seen.mode & 0o077:
        return warn(
            f"others may look into {seen.path} (mode {seen.mode:o})", f"chmod 700 {seen.path}"
        )
    return None


def disk(facts: Facts) -> Finding | None:
    free, size = facts.directory.free, facts.directory.size
    if free is None or size is None:
        return None
    said = f"{_mib(free)} MiB are free under {facts.directory.path}"
    fix = f"Make room, or move the directory: du -xh {facts.directory.path} | sort -h | tail"
    if free < DISK_FULL_BYTES:
        return fail(f"{said}; a full ledger stops", fix)
    if free < DISK_LOW_BYTES and free < size * DISK_LOW_SHARE:
        return warn(said, fix)
    member = facts.member
    plot = 0 if member is None or member.has_plot else 2 * (member.plot_bytes or 0)
    return warn(f"{said}; the plot needs {_mib(plot)} MiB", fix) if free < plot else None


def membership(facts: Facts) -> Finding | None:
    member = facts.member
    if member is None or not member.trouble:
        return None
    return fail(member.trouble, member.fix)


def keys(facts: Facts) -> Finding | None:
    member = facts.member
    if member is None:
        return None
    if member.secrets_trouble:
        return fail(member.secrets_trouble, f"chmod 700 {facts.directory.path / 'keys'}")
    if member.secrets_missing:
        names = ", ".join(member.secrets_missing)
        return fail(
            f"no key {names} in {facts.directory.path / 'keys'}", "Restore it from a backup"
        )
    damaged = [each for each in member.secrets if each.trouble]
    if not damaged:
        return None
    return fail("; ".join(each.trouble for each in damaged), damaged[0].fix)


def keys_at_rest(facts: Facts) -> Finding | None:
    member = facts.member
    if member is None or all(each.sealed or each.trouble for each in member.secrets):
        return None
    return note(
        "unprotected at rest: whoever reads the disk has the keys",
        "Encrypt the disk, or start a new node with HYPERMESH_PASSPHRASE set",
    )


def certificate(facts: Facts) -> Finding | None:
    member = facts.member
    if member is None or member.certificate_ends_ms is None:
        return None
    left_ms = member.certificate_ends_ms - facts.machine.now_ms
    founder = "this node" if member.is_founder else "the founder's node"
    if left_ms <= 0:
        return fail(
            f"it ended {_span(-left_ms)} ago, and no node talks to this one",
            f"Start the node with the clock right: it is renewed by {founder}",
        )
    if left_ms < CERTIFICATE_CLOSE_MS and facts.process.pid is not None:
        return warn(
            f"it ends in {_span(left_ms)}, and should have been renewed",
            f"See that {founder} is up and can be reached: hm node ls",
        )
    return None


def process(facts: Facts) -> Finding | None:
    if facts.member is None:
        return None
    seen = facts.process
    start = f"hm up --data {facts.directory.path}"
    if seen.pid is None:
        how = "no process runs the node"
        if seen.ended_unseen is not None:
            how += f"; process {seen.ended_unseen} ended without tidying up, which harms nothing"
        return fail(how, start)
    if seen.is_stopped:
        return fail(f"process {seen.pid} is stopped (SIGSTOP)", f"kill -CONT {seen.pid}")
    if facts.answers is not None and facts.answers.trouble and seen.has_socket:
        return fail(
            f"process {seen.pid} does not answer: {facts.answers.trouble}",
            f"tail {facts.directory.path / 'node.log'}; then: kill -9 {seen.pid} && {start}",
        )
    return None


def socket(facts: Facts) -> Finding | None:
    seen = facts.process
    file = facts.directory.path / "hm.sock"
    if seen.pid is None:
        return None
    if not seen.has_socket:
        return fail(
            f"process {seen.pid} runs, and {file} is gone",
            f"hm down --data {file.parent} && hm up --data {file.parent}",
        )
    if seen.socket_mode is not None and seen.socket_mode & 0o077:
        return fail(
            f"{file} has mode {seen.socket_mode:o}: others may command the node",
            f"chmod 600 {file}",
        )
    if seen.socket_mode is not None and seen.socket_mode & 0o600 != 0o600:
        return fail(f"{file} has mode {seen.socket_mode:o}", f"chmod 600 {file}")
    return None


def clock(facts: Facts) -> Finding | None:
    now_ms = facts.machine.now_ms
    status = facts.answers.status if facts.answers is not None else None
    if status is not None:
        off_ms = now_ms - status.block_time_ms
        if abs(off_ms) > CLOCK_OFF_MS and not _is_silent(facts):
            return warn(
                f"it is {_span(abs(off_ms))} {'ahead of' if off_ms > 0 else 'behind'} block time",
                "timedatectl set-ntp true",
            )
        return None
    last_ms = facts.ledger.last_block_ms
    if last_ms is None:
        return None
    if now_ms < last_ms - CLOCK_OFF_MS:
        return fail(
            f"it is {_span(last_ms - now_ms)} behind the last block", "timedatectl set-ntp true"
        )
    if now_ms > last_ms + DAY_MS and facts.member is not None and facts.member.is_founder:
        return warn(
            f"the last block is {_span(now_ms - last_ms)} old; the node will want to know that "
            "the clock is right",
            "Check `date -u`; if it is right: hm up --clock-is-right",
        )
    return None


def ipv6(facts: Facts) -> Finding | None:
    trouble = facts.machine.ipv6_trouble
    if not trouble:
        return None
    return fail(
        f"{trouble}; nodes talk over IPv6 alone",
        "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0",
    )


def stoq_port(facts: Facts) -> Finding | None:
    port = facts.machine.stoq_port_taken
    if port is None:
        return None
    return fail(
        f"UDP port {port}, which this node uses, is held by another program",
        f"Find it: ss -lunp 'sport = :{port}'; or: hm up --stoq-port 0",
    )


def api_port(facts: Facts) -> Finding | None:
    taken = facts.machine.api_ports_taken
    if not taken:
        return None
    if len(taken) >= facts.machine.api_ports:
        return fail(
            f"TCP ports {taken[0]} to {taken[-1]} are all held by other programs",
            f"Find them: ss -ltnp 'sport >= :{taken[0]} and sport <= :{taken[-1]}'",
        )
    return note(
        f"TCP port {taken[0]} is held by another program; the API takes a later one",
        f"Find it: ss -ltnp 'sport = :{taken[0]}'; where the API is: hm status",
    )


def names(facts: Facts) -> Finding | None:
    """Whether names are served, and where they are asked for."""
    view = None if facts.answers is None else facts.answers.names
    taken = facts.machine.dns_taken
    if view is None and taken is not None:
        return note(
            f"{taken} is held by another program; names are served at a later port",
            "Find it: ss -lunp; where names are: hm dns status",
        )
    if view is None or view.listen == "off":
        return None
    if not view.addresses:
        return warn(
            f"Names are not served: {view.failure}",
            "Find who holds the port: ss -lunp; or: hm down, then hm up --dns-listen '[::1]:0'",
        )
    if view.failure is not None:
        return warn(
            f"Names are not served over TLS and QUIC: {view.failure}",
            "Set dns.tls and dns.quic to free ports, or to off; then: hm down && hm up",
        )
    port = view.addresses[0].port
    wanted = view.listen.rpartition(":")[2]
    if wanted in ("0", str(port)):
        return None
    return note(
        f"{view.listen} was held by another program; names are served at port {port}",
        "Find it: ss -lunp; to have the port: hm down, then hm up once it is free",
    )


def sandbox(facts: Facts) -> Finding | None:
    trouble = facts.machine.sandbox_trouble
    if not trouble:
        return None
    return warn(f"{trouble}; this machine runs no Python jobs", facts.machine.sandbox_fix)


def limits(facts: Facts) -> Finding | None:
    what = facts.machine.limits_unenforced
    if not what:
        return None
    return warn(
        f"no control group can be made, so nothing keeps a job to its {' and '.join(what)}",
        "Run the node where it may make control groups: "
        "systemd-run --user --scope -p Delegate=yes hm up",
    )


def ledger(facts: Facts) -> Finding | None:
    return _damage(facts.ledger.databases[:1], "Restore it from a backup; a follower may join anew")


def databases(facts: Facts) -> Finding | None:
    others = facts.ledger.databases[1:]
    return _damage(
        others, "Restore it from a backup; of these files, index.sqlite may simply be removed"
    )


def _damage(seen: tuple[Database, ...], fix: str) -> Finding | None:
    damaged = [f"{each.file}: {each.trouble}" for each in seen if each.trouble]
    if damaged:
        return fail("; ".join(damaged), fix)
    if not all(each.checked for each in seen):
        return note("too large to be checked in this time", "hm verify")
    return None


def index(facts: Facts) -> Finding | None:
    height, indexed = facts.ledger.height, facts.ledger.index_height
    if height is None or indexed is None or facts.process.pid is None:
        return None
    if height - indexed <= INDEX_BEHIND_BLOCKS:
        return None
    return warn(
        f"it is at block {indexed} and the ledger at {height}",
        "It catches up by itself; if not, stop the node, remove index.sqlite, start it",
    )


def sequencer(facts: Facts) -> Finding | None:
    if not _is_silent(facts):
        return None
    status = facts.answers.status if facts.answers is not None else None
    age_ms = status.contact_age_ms if status is not None else None
    return fail(
        f"it was last heard {_span(age_ms or 0)} ago; what is read here is as old, and nothing can "
        "be written",
        "See that the founder's node is up and can be reached: hm node ls",
    )


def _is_silent(facts: Facts) -> bool:
    status = facts.answers.status if facts.answers is not None else None
    return status is not None and (status.contact_age_ms or 0) > SILENT_MS


def ready(facts: Facts) -> Finding | None:
    readiness = facts.answers.readiness if facts.answers is not None else None
    if readiness is None:
        return None
    wrong = [f"{name}: {said}" for name, said in readiness.items() if said != "ok"]
    if not wrong:
        return None
    log = f"tail {facts.directory.path / 'node.log'}"
    if all("not yet" in each for each in wrong):
        return note("; ".join(wrong), f"Give it a moment; else: {log}")
    return fail("; ".join(wrong), log)


def attestation(facts: Facts) -> Finding | None:
    answers = facts.answers
    if answers is None or answers.attested is not False:
        return None
    if answers.readiness is not None and answers.readiness.get("settled", "ok") != "ok":
        return None  # It is still on its way to the first.
    return warn(
        "no four proofs of this node are in force, so nobody can lease from it",
        f"It tries again each epoch; why it failed: tail {facts.directory.path / 'node.log'}",
    )


def open_files(facts: Facts) -> Finding | None:
    most = facts.machine.files_max
    if most is None or most >= FILES_MIN:
        return None
    return warn(
        f"a process may open {most} files; a node wants {FILES_MIN}", f"ulimit -n {4 * FILES_MIN}"
    )


def memory(facts: Facts) -> Finding | None:
    free = facts.machine.memory_free
    if free is None or free >= MEMORY_FREE_MIN:
        return None
    return warn(
        f"{_mib(free)} MiB are free; plots, jobs and leases need more",
        "End what uses it: ps axo rss,pid,comm --sort -rss | head",
    )


def version(facts: Facts) -> Finding | None:
    running = facts.answers.version if facts.answers is not None else None
    if running is None or running == facts.version:
        return None
    path = facts.directory.path
    return warn(
        f"the node runs {running}, this hm is {facts.version}",
        f"hm down --data {path} && hm up --data {path}",
    )


def udp_buffers(facts: Facts) -> Finding | None:
    small = {
        name: most for name, most in facts.machine.udp_buffers.items() if most < UDP_BUFFER_BYTES
    }
    if not small:
        return None
    said = ", ".join(f"{name} is {most}" for name, most in small.items())
    commands = " ".join(f"{name}={UDP_BUFFER_BYTES}" for name in small)
    return note(f"{said}; fast links lose datagrams", f"sysctl -w {commands}")


def bypasses(facts: Facts) -> Finding | None:
    """No fault, whatever the kernel offers: it is told to who asks for all checks."""
    said = [f"{way} is not used: {why}" for way, why in facts.machine.bypasses.items()]
    return Finding(State.OK, "; ".join(said), "") if said else None


def health(facts: Facts) -> Finding | None:
    """What the node itself wants seen to."""
    seen = facts.answers.health if facts.answers is not None else None
    actions = [each for each in seen.actions if each.level != "note"] if seen is not None else []
    if not actions:
        return None
    worst = actions[0]
    make = fail if worst.level == "failing" else warn
    said = "; ".join(f"{each.what} ({each.why})" if each.why else each.what for each in actions)
    return make(said, worst.fix)


CHECKS: tuple[Check, ...] = (
    Check("configuration", "configuration files", configuration),
    Check("directory", "data directory", directory),
    Check("disk", "disk space", disk),
    Check("settings", "the node's settings", settings),
    Check("membership", "membership of a network", membership),
    Check("keys", "keys", keys),
    Check("keys-at-rest", "keys at rest", keys_at_rest),
    Check("certificate", "certificate", certificate),
    Check("ledger", "ledger", ledger),
    Check("databases", "other databases", databases),
    Check("process", "node process", process),
    Check("socket", "control socket", socket),
    Check("ready", "readiness", ready),
    Check("sequencer", "sequencer", sequencer),
    Check("attestation", "four proofs", attestation),
    Check("index", "index", index),
    Check("health", "the node's own view", health),
    Check("version", "version", version),
    Check("clock", "clock", clock),
    Check("ipv6", "IPv6", ipv6),
    Check("stoq-port", "STOQ port", stoq_port),
    Check("api-port", "API port", api_port),
    Check("names", "Names", names),
    Check("sandbox", "sandbox", sandbox),
    Check("limits", "limits of jobs", limits),
    Check("open-files", "open files", open_files),
    Check("memory", "memory", memory),
    Check("udp-buffers", "UDP buffers", udp_buffers),
    Check("udp-bypasses", "ways past the UDP socket", bypasses),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    id: str
    title: str
    state: State
    why: str
    fix: str


def examine(facts: Facts) -> list[Result]:
    """Every check with what it found."""
    results = []
    for check in CHECKS:
        found = check.run(facts) or Finding(State.OK, "", "")
        results.append(Result(check.id, check.title, found.state, found.why, found.fix))
    return results


def is_healthy(results: list[Result]) -> bool:
    """Whether there is no fault; notes are none."""
    return all(each.state in (State.OK, State.NOTE) for each in results)


def _mib(count: int) -> int:
    return count >> 20


def _span(duration_ms: int) -> str:
    for unit, name in ((DAY_MS, "days"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if duration_ms >= 2 * unit:
            return f"{duration_ms // unit} {name}"
    return f"{duration_ms // 1000} s"
