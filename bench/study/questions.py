"""The paper's statements as questions to a curve: what holds, at how many bandwidths. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Final

from bench.study.methods import LEARNED
from bench.study.problem import Decision

SCARCE_MBPS, SOME_MBPS, LEVEL_MBPS, AMPLE_MBPS = 5.0, 10.0, 30.0, 40.0
_ROUNDING: Final = 1 + 1e-6
_ALIKE: Final = 0.1

Every = Mapping[str, Decision]
"""By method."""
Curve = Mapping[float, Every]
"""By bandwidth, at one weight."""
Outcome = tuple[str, str]
"""The verdict, and what it rests on in words."""


def lowest_cost(curve: Curve, joint: str) -> Outcome:
    """Whether the joint method is the cheapest."""
    return _of_shares("cheapest at {}", {"": _share(curve, lambda every: _is_least(every, joint, joint, "cost"))})


def lowest_latency(curve: Curve, joint: str) -> Outcome:
    """Whether it is the fastest."""
    return _of_shares("fastest at {}", {"": _share(curve, lambda every: _is_least(every, joint, joint, "latency_s"))})


def edge_saves_energy(curve: Curve, joint: str) -> Outcome:
    """Whether edge-only needs the least of the devices' energy."""
    where = [one for one, every in curve.items() if not _is_least(every, "edge-only", joint, "energy_j")]
    share = 1 - len(where) / len(curve)
    said = f"not up to {max(where):g} Mbit/s" if where else "everywhere"
    return _word(share), f"least energy of all at {share:.0%} of bandwidths ({said})"


def edge_is_slow(curve: Curve, joint: str) -> Outcome:
    """Whether edge-only takes twice as long, or at least longer, at the scarcest bandwidth."""
    scarcest = min(curve)
    times = curve[scarcest]["edge-only"].latency_s / curve[scarcest][joint].latency_s
    said = f"at {scarcest:g} Mbit/s it takes {times:.1f} times as long as the joint method"
    return _word(1.0 if times >= 2 else 0.5 if times > 1 else 0.0), said


def colony_beats_spinn(curve: Curve, joint: str) -> Outcome:
    """Whether the colony's exits give less latency, energy and cost than SPINN's, both with even shares."""
    del joint
    shares = _shares(
        curve, ("latency_s", "energy_j", "cost"), lambda every, what: _is_below(every["aco"], every["spinn"], what)
    )
    saved = median(1 - every["aco"].cost / every["spinn"].cost for every in curve.values())
    verdict, said = _of_shares("lower {}", shares)
    return verdict, f"{said}; cost lower by {saved:.1%} (median)"


def levels_off(curve: Curve, joint: str) -> Outcome:
    """Whether bandwidth above 30 Mbit/s brings at most a tenth of what all bandwidth brings."""
    del joint
    first, last = min(curve), max(curve)
    level = min(curve, key=lambda one: abs(one - LEVEL_MBPS))
    left: dict[str, float] = {}
    for name in curve[first]:
        whole = curve[first][name].cost - curve[last][name].cost
        left[name] = (curve[level][name].cost - curve[last][name].cost) / whole if whole > 0 else 0.0
    most = max(left, key=left.__getitem__)
    said = f"of what {first:g} to {last:g} Mbit/s saves, at most {left[most]:.1%} ({most}) comes beyond {level:g}"
    return _word(1.0 if left[most] <= _ALIKE else 0.5 if median(left.values()) <= _ALIKE else 0.0), said


def fixed_is_worse(curve: Curve, joint: str) -> Outcome:
    """Whether a fixed split is above most other methods."""
    shares = _shares(
        curve, ("latency_s", "cost", "energy_j"), lambda every, what: _is_above_most(every, "fixed-6", joint, what)
    )
    return _of_shares("above most others in {}", shares)


def same_energy_with_bandwidth(curve: Curve, joint: str) -> Outcome:
    """Whether even shares need the joint method's energy, within a tenth, where there is some bandwidth."""
    beyond = {one: every for one, every in curve.items() if one > SOME_MBPS}
    share = _share(beyond, lambda every: abs(every["aco"].energy_j / every[joint].energy_j - 1) <= _ALIKE)
    return _word(share), f"within {_ALIKE:.0%} of each other at {share:.0%} of bandwidths beyond {SOME_MBPS:g} Mbit/s"


def fixed_saves_energy_with_bandwidth(curve: Curve, joint: str) -> Outcome:
    """Whether a fixed split needs less energy than most where bandwidth is ample, and takes longer."""
    beyond = {one: every for one, every in curve.items() if one > AMPLE_MBPS}
    slow = _share(beyond, lambda every: _is_above_most(every, "fixed-6", joint, "latency_s"))
    saving = _share(beyond, lambda every: not _is_above_most(every, "fixed-6", joint, "energy_j"))
    return _of_shares("beyond 40 Mbit/s {}", {"less energy than most at": saving, "slower than most at": slow})


def alone_is_worse(curve: Curve, joint: str) -> Outcome:
    """Whether devices alone, and the edge server alone, are dearer than most others."""
    shares = _shares(
        curve, ("device-only", "edge-only"), lambda every, name: _is_above_most(every, name, joint, "cost")
    )
    return _of_shares("dearer than most others: {}", shares)


def scarce_is_enough(curve: Curve, joint: str) -> Outcome:
    """Whether the joint method at scarce bandwidth costs what the others do at ample bandwidth."""
    scarce, ample = min(curve, key=lambda one: abs(one - SCARCE_MBPS)), max(curve)
    times = curve[scarce][joint].cost / median(one.cost for one in _rivals(curve[ample], joint, joint))
    said = f"at {scarce:g} Mbit/s it costs {times:.2f} times the median of the others at {ample:g}"
    return _word(1.0 if times <= 1 + _ALIKE else 0.5 if times <= 1.5 else 0.0), said


def _word(share: float) -> str:
    return "reproduced" if share >= 1 else "in part" if share >= 0.5 else "refuted"


def _of_shares(said: str, shares: Mapping[str, float]) -> Outcome:
    parts = ", ".join(f"{name.partition('_')[0]} {share:.0%}".strip() for name, share in shares.items())
    return _word(min(shares.values())), f"{said.format(parts)} of bandwidths"


def _share(curve: Curve, holds: Callable[[Every], bool]) -> float:
    return sum(holds(every) for every in curve.values()) / len(curve) if curve else 0.0


def _shares(curve: Curve, names: Iterable[str], holds: Callable[[Every, str], bool]) -> dict[str, float]:
    return {name: sum(holds(every, name) for every in curve.values()) / len(curve) for name in names}


def _figure(decision: Decision, what: str) -> float:
    return float(getattr(decision, what))


def _is_below(one: Decision, other: Decision, what: str) -> bool:
    return _figure(one, what) <= _figure(other, what) * _ROUNDING


def _rivals(every: Every, name: str, joint: str) -> list[Decision]:
    """All other methods; of those that stand for the joint one only `joint`."""
    left_out = {name, "exact", *LEARNED} - ({joint} - {name})
    return [decision for other, decision in every.items() if other not in left_out]


def _is_least(every: Every, name: str, joint: str, what: str) -> bool:
    return all(_is_below(every[name], other, what) for other in _rivals(every, name, joint))


def _is_above_most(every: Every, name: str, joint: str, what: str) -> bool:
    return _figure(every[name], what) > median(_figure(other, what) for other in _rivals(every, name, joint))
