from bench.experiments.policies import lost
from bench.on_paper import sameness
from bench.policy_cases import cases_of, described, row
from bench.policy_cells import FULL
from schemas.plan import Plan, Prediction, Route, Stage


def plan(*devices: str, window: int = 2, weights: tuple[float, ...] = (), policy: str = "exact") -> Plan:
    """Whole copies."""
    shares = weights or (1 / len(devices),) * len(devices)
    return Plan(
        deployment="m", generation=1, model="m", card_sha="0" * 64, objective="throughput", policy=policy,
        predicted=Prediction(latency_ms=7.0, throughput_rps=99.0, energy_j=0.0),
        routes=tuple(
            Route(stages=(Stage(device=device, first=0, last=2),), window=window, weight=share)
            for device, share in zip(devices, shares, strict=True)
        ),
    )  # fmt: skip


def test_plans_are_the_same_whatever_policy_made_them_and_in_whatever_order_their_routes_stand():
    ours, theirs = plan("a", "b", weights=(0.6, 0.4)), plan("b", "a", weights=(0.4, 0.6), policy="replicas")
    assert sameness(ours, flat_out=True) == sameness(theirs, flat_out=True)
    assert sameness(ours, flat_out=True) != sameness(plan("a", "b"), flat_out=True)


def test_a_window_counts_only_where_it_can_be_full():
    narrow, wide = plan("a", window=1), plan("a", window=3)
    assert sameness(narrow, flat_out=True) != sameness(wide, flat_out=True)
    assert sameness(narrow, flat_out=False) == sameness(wide, flat_out=False)


def test_shares_that_are_kept_to_serve_otherwise_than_those_that_are_not():
    loose, strict = plan("a", "b"), plan("a", "b").model_copy(update={"in_turn": True})
    assert sameness(loose, flat_out=True) != sameness(strict, flat_out=True)
    assert sameness(loose, flat_out=False) == sameness(strict, flat_out=False)


def test_a_turn_that_failed_is_told_beside_the_figures_of_the_others():
    (fast,) = cases_of({("exact", "throughput"): plan("a", "b")})
    fast.values.append(90.0)
    fast.failures.append("no answer in time")
    found = row("h+m", "m", "exact", [fast], {})
    assert (found["throughput_rps"], found["rounds"], found["failed"]) == (90.0, 1, "no answer in time")


def test_of_a_model_that_was_lost_every_policy_has_a_row_that_says_why():
    found = lost("h+m", "m", "a worker ended")
    assert {"exact", "amp4ec"} < {one["policy"] for one in found}
    assert {(one["throughput_rps"], one["failed"]) for one in found} == {(None, "a worker ended")}


def test_policies_with_the_same_plan_share_a_case_for_each_goal():
    made = {
        ("exact", "throughput"): plan("a", "b"),
        ("replicas", "throughput"): plan("b", "a"),
        ("exact", "latency"): plan("a"),
        ("replicas", "latency"): plan("a", "b"),
    }
    assert [(case.goal, case.policies) for case in cases_of(made)] == [
        ("throughput", ["exact", "replicas"]),
        ("latency", ["exact"]),
        ("latency", ["replicas"]),
    ]


def test_a_row_has_throughput_of_the_one_plan_and_latency_of_the_other():
    fast, quick = cases_of({("exact", "throughput"): plan("a", "b"), ("exact", "latency"): plan("a")})
    fast.values += [90.0, 100.0, 110.0]
    quick.values += [5.0, 6.0, 10.0]
    found = row("h+m", "m", "exact", [fast, quick], {})
    assert (found["throughput_rps"], found["latency_ms"], found["latency_mean_ms"]) == (100.0, 6.0, 7.0)
    assert (found["predicted_rps"], found["predicted_latency_ms"]) == (99.0, 7.0)
    assert (found["plan"], found["latency_plan"]) == (described(plan("a", "b")), "r0: a[0:2)")


def test_a_policy_without_a_plan_has_a_row_with_nulls_and_the_reason():
    found = row(
        "h+m", "m", "best-single", [], {("best-single", "throughput"): "too big", ("best-single", "latency"): "too big"}
    )
    assert found["throughput_rps"] is None
    assert found["latency_ms"] is None
    assert found["note"] == "for throughput: too big; for latency: too big"


def test_each_model_of_a_fleet_is_measured_once_and_of_some_only_the_latency():
    cells = FULL.cells
    assert ("mobilenet_v2", ("throughput", "latency")) in cells["hml"]
    assert cells["eight"] == (("mobilenet_v2", ("latency",)),)
    for models in cells.values():
        names = [name for name, _goals in models]
        assert len(set(names)) == len(names)
