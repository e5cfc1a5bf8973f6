"""Shares of one thread's time, by weight: checked against the paper's bound, and against what people would mind."""

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from services.worker.fair_queue import FairQueue

weights = st.floats(min_value=0.01, max_value=100)
costs_s = st.floats(min_value=1e-5, max_value=2.0)


@given(st.lists(st.tuples(weights, st.lists(costs_s, min_size=1, max_size=6)), min_size=2, max_size=6), st.data())
def test_those_who_always_wait_have_equal_time_for_their_weight_but_for_a_turn_of_each(
    owners: list[tuple[float, list[float]]], data: st.DataObject
) -> None:
    queue: FairQueue[float] = FairQueue()
    for name, (weight, costs) in enumerate(owners):
        for cost_s in costs:
            queue.put(str(name), weight, cost_s)
    had_s: Counter[str] = Counter()
    turns = data.draw(st.integers(1, 200))
    for _ in range(turns):
        line = queue.turn()
        (name,) = (str(name) for name in range(len(owners)) if queue._owners[str(name)].waiting is line)
        cost_s = line.popleft()
        line.append(cost_s)
        queue.charge(cost_s)
        had_s[name] += cost_s  # type: ignore[assignment]
        for one, (weight, costs) in enumerate(owners):
            for other, (other_weight, other_costs) in enumerate(owners):
                apart = had_s[str(one)] / weight - had_s[str(other)] / other_weight
                assert apart <= (max(costs) / weight + max(other_costs) / other_weight) * 1.000001


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 5), min_size=2), st.integers(50, 200))
def test_turns_of_equal_length_are_dealt_by_weight_and_nobody_starves(shares: dict[str, int], rounds: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for name, share in shares.items():
        queue.put(name, share, name)
    had: Counter[str] = Counter()
    for _ in range(rounds * sum(shares.values())):
        line = queue.turn()
        had[line[0]] += 1
        queue.charge(0.01)
    for name, share in shares.items():
        assert abs(had[name] - rounds * share) <= share + 1


script = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), weights),
        st.tuples(st.just("take"), st.integers(1, 3), costs_s),
        st.tuples(st.just("rest"), st.none(), st.none()),
    ),
    max_size=80,
)


@given(script)
def test_whatever_comes_is_taken_once_and_within_a_line_in_the_order_it_came(
    steps: list[tuple[str, object, object]],
) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for number, (what, first, second) in enumerate(steps):
        if what == "put":
            queue.put(str(first), float(second), (str(first), number))  # type: ignore[arg-type]
            waiting[str(first)].append(number)
        elif what == "take":
            line = queue.turn()
            assert bool(line) == any(waiting.values())
            for _ in range(min(int(first), len(line))):  # type: ignore[call-overload]
                owner, mine = line.popleft()
                assert waiting[owner].pop(0) == mine
            queue.charge(float(second))  # type: ignore[arg-type]
        elif not queue:
            queue.rest()
        assert bool(queue) == any(waiting.values())


def serve(queue: FairQueue[float]) -> float:
    """One turn of one item; what it took."""
    cost_s = queue.turn().popleft()
    queue.charge(cost_s)
    return cost_s


def test_a_newcomer_waits_for_the_turn_under_way_and_for_nothing_else() -> None:
    queue: FairQueue[float] = FairQueue()
    for _ in range(100):
        queue.put("flood", 1.0, 0.01)
    for _ in range(50):
        serve(queue)
    queue.turn()
    queue.put("new", 1.0, 0.5)
    queue.charge(0.01)
    assert serve(queue) == 0.5


def test_time_that_nobody_asked_for_cannot_be_saved_up() -> None:
    queue: FairQueue[float] = FairQueue()
    queue.put("away", 1.0, 0.1)
    for _ in range(300):
        queue.put("busy", 1.0, 0.1)
    for _ in range(101):
        serve(queue)
    for _ in range(100):
        queue.put("away", 1.0, 0.2)
    served = [serve(queue) for _ in range(30)]
    assert 9 <= served.count(0.2) <= 11  # every second tenth of a second from now on, and no more


def test_who_asks_again_only_after_each_answer_gets_no_more_than_its_share() -> None:
    """A line that is empty for a moment after each turn must not start anew each time."""
    queue: FairQueue[float] = FairQueue()
    for _ in range(1000):
        queue.put("steady", 1.0, 0.01)
    had_s = Counter[float]()
    for _ in range(220):
        if not queue._owners.get("one at a time") or not queue._owners["one at a time"].waiting:
            queue.put("one at a time", 1.0, 0.1)
        cost_s = serve(queue)
        had_s[cost_s] += cost_s  # type: ignore[assignment]
    assert abs(had_s[0.1] - had_s[0.01]) <= 0.2


def test_owners_who_never_come_back_are_forgotten() -> None:
    queue: FairQueue[float] = FairQueue()
    queue.put("steady", 1.0, 0.01)
    for number in range(1000):
        queue.put(f"once{number}", 1.0, 0.01)
        queue.put("steady", 1.0, 0.01)
        serve(queue)
        serve(queue)
    assert len(queue._owners) < 10
    while queue:
        serve(queue)
    queue.rest()
    assert not queue._owners


def test_an_empty_queue_has_an_empty_line() -> None:
    queue: FairQueue[float] = FairQueue()
    assert not queue.turn()
    queue.charge(1.0)
    assert not queue
