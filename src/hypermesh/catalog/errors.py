"""What can go wrong with a job before, beside or around its own program."""

from __future__ import annotations

from hypermesh.wire.errors import HyperMeshError, InvalidInput, Overloaded


class SandboxMissing(HyperMeshError):
    """The program that isolates jobs is not installed. Jobs never run without it."""

    code = "HM-JOB-0001"
    status = 503
    exit_code = 3
    title = "The sandbox program bwrap is not installed"
    remedy = (
        "Install it with `apt-get install bubblewrap` (Debian, Ubuntu), `dnf install bubblewrap` "
        "(Fedora) or `apk add bubblewrap` (Alpine), then restart the node"
    )


class SandboxUnusable(HyperMeshError):
    """The sandbox program is there and cannot isolate anything on this machine."""

    code = "HM-JOB-0002"
    status = 503
    exit_code = 3
    title = "The sandbox cannot be used on this machine"
    remedy = (
        "Allow unprivileged user namespaces (sysctl user.max_user_namespaces, and "
        "kernel.apparmor_restrict_unprivileged_userns on Ubuntu), then restart the node"
    )


class EngineUnknown(InvalidInput):
    """The job names an engine that nobody has heard of."""

    code = "HM-JOB-0003"
    title = "There is no such engine"


class ModuleInvalid(InvalidInput):
    """The program is not a WebAssembly module that this engine can run."""

    code = "HM-JOB-0004"
    title = "The program is not a WebAssembly module that can run here"


class JobFileInvalid(InvalidInput):
    """A job file has a fault; the text names the line or the field."""

    code = "HM-JOB-0005"
    title = "The job file is not valid"


class TooManyJobs(Overloaded):
    """All places for jobs are taken; the job was not started."""

    code = "HM-JOB-0006"
    title = "All places for jobs on this node are taken"


class SandboxBroken(HyperMeshError):
    """The sandbox failed around a job: nothing can be said about the program itself."""

    code = "HM-JOB-0007"
    status = 500
    title = "The sandbox failed while it held a job"
    remedy = "Run the job again; if it fails in the same way, run `hm doctor` on the provider"


class PackageUnknown(InvalidInput):
    """The job asks for a package, or another thing, that its engine does not have."""

    code = "HM-JOB-0009"
    title = "The engine does not have what the job asks for"


class ArgumentInvalid(InvalidInput):
    """An argument cannot be handed to the program."""

    code = "HM-JOB-0008"
    title = "An argument of the job cannot be passed on"
