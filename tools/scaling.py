"""How many machines a rate of pictures needs, where the first wall stands, and what a thousand pictures cost.

python -m tools.scaling [--rate 1,100,10000] [--device-rate 350] [--core-price 0.04] [--device-price 1.2]

A simulation, second by second: pictures arrive by a trace, each takes processor time in the edge and in the
compositor and a place on a device; what is not served waits. Every `--reaction` seconds a scaling rule adds
or takes away devices by the queueing delay, and cores by their use, as the rules of an autoscaler do; what
it adds is there after `--start` seconds. Service times are the measured ones of docs/performance.md and can
be set. Prices are per hour of one core and of one device, in whatever money you like.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """What one picture costs. Seconds are of one core; `device_rate` is pictures a second of one device."""

    edge_core_s: float = 0.012
    compositor_core_s: float = 0.040
    auth_core_s: float = 0.002
    # Authenticate (remembered for seconds, so it is left out), Reserve, Commit.
    valkey_operations: float = 2.0
    device_rate: float = 350.0


@dataclass(frozen=True, slots=True)
class Walls:
    """What one of a thing can carry, whatever stands around it."""

    # One primary: the scripts of a removal take 185 and 155 us of its one thread.
    valkey_operations_per_s: float = 5_500.0
    # Pictures of 3 MiB through the message layer of one inference process.
    inference_process_rate: float = 350.0
    # A picture of 2 MP in, a PNG out, on 10 Gbit/s with a third of it in reserve.
    proxy_pictures_per_s: float = 400.0


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """Devices follow the queueing delay, cores their use; both are seen `reaction_s` apart.

    Above `grow_delay_s` a third more devices are asked for, below `shrink_use` of them busy a tenth less.
    """

    grow_delay_s: float = 0.2
    shrink_use: float = 0.5
    core_use: float = 0.65
    reaction_s: int = 15
    start_s: int = 60


@dataclass(slots=True)
class Outcome:
    """What a day came to. Delays are of the device's queue, in seconds."""

    pictures: int = 0
    most_devices: int = 0
    most_cores: int = 0
    device_hours: float = 0.0
    core_hours: float = 0.0
    delays_s: list[float] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)

    def delay_s(self, share: float) -> float:
        """The delay that `share` of all pictures did not exceed."""
        order = np.argsort(self.delays_s)
        reached = np.cumsum(np.asarray(self.weights)[order])
        if not len(reached) or reached[-1] == 0:
            return 0.0
        return float(np.asarray(self.delays_s)[order][np.searchsorted(reached, share * reached[-1])])


def day_of_pictures(mean_rate: float, seed: int = 0) -> Iterator[int]:
    """Arrivals in each second of a day: a wave from half to one and a half times the mean, three bursts of
    twice as many for five minutes, and chance (Poisson).
    """
    random = np.random.default_rng(seed)
    bursts = random.integers(0, DAY_S - 300, 3)
    for second in range(DAY_S):
        wave = 1 - 0.5 * math.cos(2 * math.pi * second / DAY_S)
        is_burst = any(start <= second < start + 300 for start in bursts)
        yield int(random.poisson(mean_rate * wave * (2 if is_burst else 1)))


def simulate(arrivals: Iterator[int], times: ServiceTimes, rule: ScalingRule) -> Outcome:
    """Run a trace against the rule. A first device and core are always there."""
    outcome = Outcome()
    devices, cores = 1, 1
    coming: list[tuple[int, int]] = []
    waiting = 0.0
    seen = 0
    core_s = times.edge_core_s + times.compositor_core_s + times.auth_core_s
    for second, arrived in enumerate(arrivals):
        while coming and coming[0][0] <= second:
            devices += coming.pop(0)[1]
        capacity = devices * times.device_rate
        waiting += arrived
        served = min(waiting, capacity)
        waiting -= served
        delay_s = waiting / capacity
        outcome.pictures += arrived
        outcome.delays_s.append(delay_s)
        outcome.weights.append(arrived)
        seen += arrived
        if second % rule.reaction_s == rule.reaction_s - 1:
            rate = seen / rule.reaction_s
            seen = 0
            cores = max(1, math.ceil(rate * core_s / rule.core_use))
            asked = sum(count for _, count in coming)
            if delay_s > rule.grow_delay_s and not asked:
                coming.append((second + rule.start_s, max(1, math.ceil(devices / 3))))
            elif rate < rule.shrink_use * capacity and devices > 1:
                devices = max(1, devices - max(1, devices // 10))
        outcome.most_devices = max(outcome.most_devices, devices)
        outcome.most_cores = max(outcome.most_cores, cores)
        outcome.device_hours += devices / 3600
        outcome.core_hours += cores / 3600
    return outcome


def first_wall(rate: float, times: ServiceTimes, walls: Walls) -> str:
    """What has to be more than one at `rate`, the tightest first."""
    loads = {
        "Valkey, one primary": rate * times.valkey_operations / walls.valkey_operations_per_s,
        "one Envoy on 10 Gbit/s": rate / walls.proxy_pictures_per_s,
        "one inference process": rate / walls.inference_process_rate,
    }
    told = [f"{name}: {load:.2g} times" for name, load in sorted(loads.items(), key=lambda item: -item[1])]
    return "; ".join(
        text for text, load in zip(told, sorted(loads.values(), reverse=True), strict=True) if load > 1
    )


def table(rates: Sequence[float], times: ServiceTimes, core_price: float, device_price: float) -> str:
    """The rows of docs/scaling.md."""
    head = (
        "pictures/s, mean",
        "devices",
        "cores",
        "Valkey operations/s",
        "delay p50",
        "p99",
        "1,000 cost",
        "walls",
    )
    rows = [head, ("---",) * len(head)]
    for rate in rates:
        outcome = simulate(day_of_pictures(rate), times, ScalingRule())
        cost = outcome.core_hours * core_price + outcome.device_hours * device_price
        # The wave's top, in a burst.
        peak = 3 * rate
        rows.append(
            (
                f"{rate:g}",
                str(outcome.most_devices),
                str(outcome.most_cores),
                f"{peak * times.valkey_operations:,.0f}",
                f"{outcome.delay_s(0.5):.2f} s",
                f"{outcome.delay_s(0.99):.2f} s",
                f"{1000 * cost / max(1, outcome.pictures):.4f}",
                first_wall(peak, times, Walls()) or "-",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", default="1,100,10000", help="mean pictures a second, by commas")
    parser.add_argument("--device-rate", type=float, default=ServiceTimes().device_rate)
    parser.add_argument("--edge-core-s", type=float, default=ServiceTimes().edge_core_s)
    parser.add_argument("--compositor-core-s", type=float, default=ServiceTimes().compositor_core_s)
    parser.add_argument("--core-price", type=float, default=0.04)
    parser.add_argument("--device-price", type=float, default=1.2)
    given = parser.parse_args()
    times = replace(
        ServiceTimes(),
        device_rate=given.device_rate,
        edge_core_s=given.edge_core_s,
        compositor_core_s=given.compositor_core_s,
    )
    rates = [float(text) for text in given.rate.split(",")]
    print(table(rates, times, given.core_price, given.device_price))


if __name__ == "__main__":
    main()
