"""What a record says in figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

from bench.chaos.record import Record, Shown

_BEFORE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one scenario; times are counted from the fault, None where there was no such thing."""

    submitted: int
    answered: int
    failed_with_reason: int
    lost: int
    """Requests whose caller saw neither an answer nor an error."""
    duplicates_visible: int
    """Results beyond a request's first that its caller saw, and answers that bear the id of another request's."""
    wrong: int
    """Answers that differ from the unsplit model's."""
    detect_ms: float | None
    """Until the planner said something about it: a plan to prepare, or a decision."""
    replan_ms: float | None
    """Until another generation was current."""
    first_answer_ms: float | None
    """Until an answer over that generation, or a later one, was in the caller's hands."""
    longest_silence_ms: float | None
    """The longest time without any answer, from the last one before the fault until the last request was handed in or
    the last answer came, whichever is later."""
    silence_before_ms: float | None
    """The same in the two seconds before the fault: what the machine alone does to a line that is well."""

    def as_dict(self) -> dict[str, int | float | None]:
        """For JSON; milliseconds to the tenth."""
        return {name: round(value, 1) if isinstance(value, float) else value for name, value in asdict(self).items()}


def figures_of(record: Record) -> Figures:
    """Count and measure; what was never struck has no times."""
    firsts = _firsts(record.shown)
    answered = sum(one.answered for one in firsts)
    failed = len(firsts) - answered
    struck_s = record.struck_s
    replanned_s = None if struck_s is None else _first(_later_plans(record, struck_s))
    return Figures(
        submitted=len(record.submitted),
        answered=answered,
        failed_with_reason=failed,
        lost=len(record.submitted) - answered - failed,
        duplicates_visible=duplicates(record.shown),
        wrong=sum(one.answered and not one.right for one in record.shown),
        detect_ms=_since(struck_s, None if struck_s is None else _first(_words(record, struck_s))),
        replan_ms=_since(struck_s, replanned_s),
        first_answer_ms=_since(struck_s, None if struck_s is None else _first(_newer_answers(record, struck_s))),
        longest_silence_ms=None if struck_s is None else _longest_silence_s(record, struck_s) * 1000,
        silence_before_ms=None if struck_s is None else _silence_before_s(record, struck_s) * 1000,
    )


def duplicates(shown: Iterable[Shown]) -> int:
    """Results that should not have been shown: a second one of a request, or one with another's id."""
    requests: set[int] = set()
    ids: set[str] = set()
    count = 0
    for one in shown:
        count += one.index in requests or bool(one.request and one.request in ids)
        requests.add(one.index)
        ids.add(one.request)
    return count


def reasons(shown: Iterable[Shown]) -> dict[str, int]:
    """How often requests failed of what."""
    return dict(Counter(one.reason for one in shown if not one.answered))


def _firsts(shown: Iterable[Shown]) -> list[Shown]:
    found: dict[int, Shown] = {}
    for one in shown:
        found.setdefault(one.index, one)
    return list(found.values())


def _first(moments: Iterator[float]) -> float | None:
    return min(moments, default=None)


def _since(struck_s: float | None, moment_s: float | None) -> float | None:
    return None if struck_s is None or moment_s is None else (moment_s - struck_s) * 1000


def _later_plans(record: Record, struck_s: float) -> Iterator[float]:
    before = record.generation_before(struck_s)
    return (at_s for at_s, plan in record.plans if at_s > struck_s and plan.generation > before)


def _words(record: Record, struck_s: float) -> Iterator[float]:
    before = record.generation_before(struck_s)
    yield from (at_s for at_s, plan in record.announced if at_s > struck_s and plan.generation > before)
    for at_s, decision in record.decisions:
        if at_s > struck_s and (decision.generation > before or decision.state in ("profiling", "failed")):
            yield at_s


def _newer_answers(record: Record, struck_s: float) -> Iterator[float]:
    before = record.generation_before(struck_s)
    return (one.at_s for one in record.shown if one.answered and one.at_s > struck_s and one.generation > before)


def _silence_before_s(record: Record, struck_s: float) -> float:
    times = sorted(one.at_s for one in record.shown if one.answered and struck_s - _BEFORE_S <= one.at_s <= struck_s)
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def _longest_silence_s(record: Record, struck_s: float) -> float:
    times = sorted(one.at_s for one in record.shown if one.answered)
    begin = max((at_s for at_s in times if at_s <= struck_s), default=struck_s)
    after = [at_s for at_s in times if at_s > struck_s]
    moments = sorted([begin, *after, max(record.load_ended_s or struck_s, struck_s)])
    return max(later - earlier for earlier, later in pairwise(moments))
