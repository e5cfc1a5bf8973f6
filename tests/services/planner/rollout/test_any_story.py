"""Whatever happens, in whatever order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.planner.events import (
    Drifted,
    Event,
    Lost,
    Planned,
    PublishCurrent,
    PublishNext,
    Refused,
    Tick,
    Wanted,
)
from tests.services.planner.rollout.stories import (
    WISH,
    Story,
    decision,
    holding,
    plan,
    served,
)

DEVICES = ("a", "b", "c")
ROUTES = ("a[0:4)", "a[0:2) -> b[2:4)", "c[0:4)", "b[0:1) -> c[1:4)", "a[0:4) | b[0:2) -> c[2:4)")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.sampled_from(DEVICES)), max_size=40))
def test_whatever_happens_only_whole_plans_are_served_and_generations_only_grow(
    happenings: list[tuple[int, int, str]],
) -> None:
    story = Story()
    ready: set[tuple[str, int]] = set()
    generations: list[int] = []
    for number, (what, which, device) in enumerate(happenings):
        story.now_s += which
        upcoming = story.rollout.next
        event: Event
        match what:
            case 0:
                event = Wanted(WISH.model_copy(update={"requested": float(number)}))
            case 1:
                event = Planned(story.rollout.ticket, plan(ROUTES[which]), decision())
            case 2 | 3 | 4 | 5 if upcoming is not None:
                mine = {(device, upcoming.generation)}
                event = holding(device, upcoming, "failed" if what == 5 else "ready")
                ready = ready - mine if what == 5 else ready | mine
            case 6:
                event = Lost(device)
                ready = {(name, generation) for name, generation in ready if name != device}
            case 7:
                event = Refused(story.rollout.ticket, decision("failed", error="none"))
            case 8:
                event = Wanted(None)
            case 9 if story.rollout.current is not None:
                event = Drifted(story.rollout.current.generation, plan(ROUTES[which]), decision())
            case _:
                event = Tick()
        for action in story.tell(event):
            if isinstance(action, PublishNext):
                generations.append(action.plan.generation)
            if isinstance(action, PublishCurrent):
                assert all((name, action.plan.generation) in ready for name in action.plan.devices)
    assert generations == sorted(set(generations))


def test_a_story_is_a_value() -> None:
    story = served()
    assert replace(story.rollout) == story.rollout
