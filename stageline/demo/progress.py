"""The demo's progress bars: importing, devices joining, a plan getting ready, requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from stageline.deploying import Rollout


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """Bars that vanish when they are done."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


class PhaseBars:
    """The bars of one phase: the plan, each device that gets ready, then the requests."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress = progress
        self._check = check
        self._tasks: dict[str, TaskID] = {}
        self._requests: TaskID | None = None

    def deploying(self, rollout: Rollout) -> None:
        """A plan came a step further; also a moment to notice that a process is gone."""
        self._check()
        state = rollout.decision.state if rollout.decision else "waiting for the planner"
        self._show("plan", state, float(state == "serving"))
        for device, (done, what) in rollout.devices.items():
            self._show(device, what, done)

    def requests(self, done: int, total: int) -> None:
        """One more request is done."""
        if self._requests is None:
            for task in self._tasks.values():
                self._progress.update(task, visible=False)
            self._requests = self._progress.add_task("requests", total=total)
        self._progress.update(self._requests, completed=done)

    def _show(self, name: str, what: str, done: float) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", total=1)
        self._progress.update(self._tasks[name], description=f"{name}: {what}", completed=done)
