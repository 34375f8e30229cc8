"""Calls at a given rate: the caller sleeps in between, as with a camera, and finds the worker asleep."""

import time

from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS
from benchmarks.measurements.round_trips import check, percentiles
from benchmarks.processor_time import measured
from benchmarks.units import NS_PER_S, NS_PER_US

_LEAST_CALLS = 3


def latencies(contender: str, case: str, rate: int, seconds: float) -> dict[str, float]:
    """p50 and p99 of a round in microseconds, and the CPU that caller and worker use, in percent of a core."""
    the_case = CASES[case]
    period = NS_PER_S // rate
    with CONTENDERS[contender].open(the_case) as exchange:
        check(exchange, the_case, contender)
        call, clock, sleep = exchange.call, time.perf_counter_ns, time.sleep
        taken = []
        with measured() as used:
            due = clock()
            for _ in range(max(_LEAST_CALLS, int(rate * seconds))):
                due += period
                sleep(max(due - clock(), 0) / NS_PER_S)
                start = clock()
                call()
                taken.append((clock() - start) / NS_PER_US)
    return {**percentiles(taken), "CPU": used.percent}


def idle(contender: str, case: str, seconds: float) -> dict[str, float]:
    """The CPU that caller and worker use while nothing is called, in percent of a core."""
    the_case = CASES[case]
    with CONTENDERS[contender].open(the_case) as exchange:
        check(exchange, the_case, contender)
        with measured() as used:
            time.sleep(seconds)
    return {"CPU": used.percent}
