"""Small planning problems as hypothesis draws them: a few unequal devices, a few blocks, constraints of every kind."""

from hypothesis import assume
from hypothesis import strategies as st

from schemas.deployment import Pin
from services.planner.facts import HubFacts
from services.planner.pins import PinError

OBJECTIVES = ("throughput", "latency", "throughput", "energy", "cost")
"""Throughput twice: it has the most ways of going wrong."""

ms = st.integers(0, 20)
mbps = st.sampled_from([1e12, 400.0, 80.0, 17.0, 3.0])


@st.composite
def wishes(draw, names, blocks, objectives=OBJECTIVES):
    """Objective, and constraints of every kind, often none."""
    wanted = {"objective": draw(st.sampled_from(objectives))}
    wanted["latency_weight"] = draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    wanted["codec"] = draw(st.sampled_from(["fp32", "u8", "fp16"]))
    if draw(st.booleans()):
        wanted["latency_bound_ms"] = float(draw(st.integers(20, 200)))
    if draw(st.integers(0, 3)) == 0:
        first = draw(st.integers(0, blocks - 1))
        last = draw(st.integers(first + 1, blocks))
        wanted["pins"] = (Pin(device=draw(st.sampled_from(names)), first=first, last=last),)
    if draw(st.integers(0, 3)) == 0:
        wanted["memory_limit_bytes"] = {draw(st.sampled_from(names)): draw(st.integers(0, 40))}
    if draw(st.integers(0, 5)) == 0 and len(names) > 1:
        wanted["exclude"] = (draw(st.sampled_from(names)),)
    return wanted


@st.composite
def cases(draw, make_device, devices_max=4, objectives=OBJECTIVES):
    """Arguments of a problem: a few unequal devices, a few blocks."""
    blocks = draw(st.sampled_from([4, 3, 5, 2, 1, 5]))
    names = list("abcd")[: min(devices_max, draw(st.sampled_from([3, 2, 4, 1, 4])))]
    devices = [
        make_device(
            name,
            draw(st.lists(ms, min_size=blocks, max_size=blocks)),
            mbps=(draw(mbps), draw(mbps)),
            rtt_ms=draw(st.integers(0, 8)),
            frame_ms=draw(st.integers(0, 2)),
            frame_ms_per_mb=draw(st.sampled_from([0.0, 5.0, 100.0])),
            cores=draw(st.sampled_from([0.5, 4.0])),
            watts=(draw(st.integers(0, 3)), draw(st.integers(3, 12))),
            budget=draw(st.sampled_from([1000, 25, 60, 40, 10])),
            free_share=draw(st.sampled_from([1.0, 0.6])),
        )
        for name in names
    ]
    sizes = [4 * draw(st.integers(1, 50_000)) for _ in range(blocks + 1)]
    weights = draw(st.lists(st.integers(0, 20), min_size=blocks, max_size=blocks))
    hub = HubFacts(draw(mbps), draw(mbps), hop_ms=draw(st.integers(0, 3)))
    return {
        "devices": devices,
        "cut_bytes": sizes,
        "weight_bytes": weights,
        "hub": hub,
        **draw(wishes(names, blocks, objectives)),
    }


@st.composite
def problems(draw, make_problem, make_device, objectives=OBJECTIVES):
    """Whole problems."""
    return built(make_problem, draw(cases(make_device, objectives=objectives)))


def built(make_problem, arguments):
    """The problem, or no example where pins name a device that is excluded."""
    try:
        return make_problem(**arguments)
    except PinError:
        assume(False)
