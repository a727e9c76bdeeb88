"""Five times as much as the node can do: what is still answered, and how the rest is refused.

The peak is what 16 clients get who each wait for their answer. Then requests arrive at five times
that rate, whether or not those before have an answer, over more connections than a listener takes
(`CONNECTIONS`). A client that was refused does not wait for Retry-After: the worst case. `goodput`
counts right answers alone; `offered` says how much of the flood the node let the clients send, and
`recovery` is the longest that a client waits who asks right after it.
"""

from __future__ import annotations

import itertools

from result import Metric, metric

from measures.api import WARM_S, fill, places, questions, require_all_good, rounds
from measures.load import closed_loop, open_loop
from measures.network import network

TIMES = 5.0
SECONDS = 10.0
CONNECTIONS = 1000
GOODPUT_GOAL = 80.0


def measure() -> list[Metric]:
    with network() as nodes:
        founder = nodes.found("alice")
        fill(nodes, founder)
        place, headers = places(founder)["tcp"]
        mix = questions(founder, headers)
        closed_loop(place, rounds(mix), WARM_S)
        peak = closed_loop(place, rounds(mix), SECONDS)
        require_all_good(peak)
        flood = open_loop(place, itertools.cycle(mix), peak.rate * TIMES, CONNECTIONS, SECONDS)
        if flood.wrong:
            raise SystemExit(f"wrong answers under overload: {flood.wrong[:3]}")
        if not flood.refused:
            raise SystemExit("nothing was refused: this was no overload")
        after = closed_loop(place, rounds(mix), WARM_S)
        require_all_good(after)
    share = 100 / peak.rate
    sent = flood.good + flood.refused + flood.broken
    return [
        metric("product.overload.peak", peak.rates(), "1/s", value=peak.rate, better="higher"),
        metric(
            "product.overload.goodput",
            [each * share for each in flood.rates()],
            "% of peak",
            value=flood.rate * share,
            goal=GOODPUT_GOAL,
            better="higher",
        ),
        metric(
            "product.overload.arrivals",
            [(sent + flood.unsent) / SECONDS],
            "1/s",
            better="higher",
        ),
        metric("product.overload.offered", [sent / SECONDS], "1/s", better="higher"),
        metric("product.overload.refused", [float(flood.refused)], "", better="higher"),
        metric("product.overload.without_retry", [float(flood.without_retry)], "", goal=0),
        metric("product.overload.broken", [float(flood.broken)], ""),
        metric("product.overload.recovery", [max(after.taken_s)], "s"),
    ]
