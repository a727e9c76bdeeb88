"""The two protocols of `trustchain.evidence` over `TransparencyLogs`."""

from __future__ import annotations

from collections.abc import Sequence

from hypermesh.trustchain.ct.entry import prepared, require_act
from hypermesh.trustchain.ct.log import Request, TransparencyLogs
from hypermesh.trustchain.evidence import Act, Recorded, Submission

WAIT_S = 10.0


class CertificateRecorder:
    """`evidence.CertificateLog`. Its caller's thread prepares the submissions before they are
    sequenced and signs their SCTs after, so that the one that sequences does little else."""

    def __init__(self, logs: TransparencyLogs, wait_s: float = WAIT_S) -> None:
        self._logs = logs
        self._wait_s = wait_s

    def record(self, submissions: Sequence[Submission]) -> Sequence[Recorded]:
        """See `evidence.CertificateLog`; raises `EntryInvalid` for what no log could hold."""
        if not submissions:
            return []
        request = Request([prepared(each) for each in submissions], ())
        self._logs.submit(request, self._wait_s)
        view = self._logs.certificates
        return [
            Recorded(each.index, each.timestamp_ms, view.sct(each).encoded())
            for each in request.placed
        ]


class ActRecorder:
    """`evidence.ActLog`."""

    def __init__(self, logs: TransparencyLogs, wait_s: float = WAIT_S) -> None:
        self._logs = logs
        self._wait_s = wait_s

    def record(self, acts: Sequence[Act]) -> Sequence[int]:
        """See `evidence.ActLog`; raises `EntryInvalid` for what no log could hold."""
        if not acts:
            return []
        for act in acts:
            require_act(act)
        request = Request((), acts)
        self._logs.submit(request, self._wait_s)
        return request.indices
