"""What a plan asks of one device."""

from made_up_plans import made_up_plan

from services.worker.assignments import assignments

ME = "pi4"


def test_an_assignment_knows_where_its_results_go_and_in_which_codec() -> None:
    first, last = assignments(made_up_plan("pi4[0:3) -u8-> nano[3:6) -> pi4[6:9)", generation=7), ME)
    assert (first.next_device, first.next_stage, first.codec) == ("nano", "r0s1", "u8")
    assert (last.next_device, last.next_stage, last.codec) == (None, None, "fp32")
    assert str(last.key) == "cats/7/r0s2"


def test_an_assignment_carries_its_deployments_share_of_the_device() -> None:
    (one,) = assignments(made_up_plan("pi4[0:4) -> nano[4:9)", weight=2.5), ME)
    assert one.weight == 2.5


def test_every_route_gives_its_own_assignments() -> None:
    both = assignments(made_up_plan("pi4[0:9) | nano[0:3) -> pi4[3:9)"), ME)
    assert [(one.route, one.key.stage) for one in both] == [(0, "r0s0"), (1, "r1s1")]
