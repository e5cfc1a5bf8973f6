"""What a device could do if there were nothing but the model: all of it in a tight loop, one process, one quota.

Summed over a fleet this is the bound of any way to serve: `sum_i 1 / T_i`, every device busy with nothing else. The
loop runs in a process of its own (`python -m bench.alone`), which loads and warms the model before it is put under the
quota, and waits without computing between measurements: it can stay beside a line at rest and be measured in the same
minutes.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker.children import end, tied_to_us
from broker.heap import use_two_heaps
from models.library import Library
from models.made_up import made_up_tensor
from models.runtime import load_stage
from schemas.model import ModelCard
from services.capacity import threads_for
from stageline.emulation.limiter import Limiter, limit

_WARM_UP: Final = 5
_SETTLE_S: Final = 0.2
"""Under a new quota, before the clock starts: what was left of the one before is used up by then."""
_ROOT: Final = Path(__file__).parents[1]
_numbers = count()


class LoopEndedError(RuntimeError):
    """The process with the model in it ended by itself; the message ends with what it wrote."""

    def __init__(self, model: str, log: str) -> None:
        last = "\n".join(log.strip().splitlines()[-15:])
        super().__init__(f"{model} alone in a loop ended by itself; it wrote:\n{last or '(nothing)'}")


class Alone:
    """One model, loaded and warm in a process of its own; use as a context manager.

    Entering raises LoopEndedError when the model does not run; it says why.

    Args:
        card: of a model in `library`.
        library: where its weights are.
        cores: the most it will be measured with; decides how many threads compute, as it does for a worker.
    """

    def __init__(self, card: ModelCard, library: Library, cores: float) -> None:
        self._model = card.name
        self._command = [sys.executable, "-m", "bench.alone", str(library.root.resolve()), card.name, str(cores)]
        self._cores = cores
        self._process: subprocess.Popen[str]
        self._limiter: Limiter | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*tied_to_us(), *self._command], cwd=_ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self._heard()
            self._limiter = limit(f"alone-{next(_numbers)}", self._cores)
            self._limiter.add(self._process.pid)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def rps(self, cores: float, seconds: float) -> float:
        """Inferences per second of the whole model with `cores`, over at least `seconds`.

        Raises:
            LoopEndedError: the process is gone.
        """
        if self._limiter is None or self._process.stdin is None:
            raise RuntimeError("use it as a context manager: the loop runs inside only")
        self._limiter.set_cores(cores)
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise LoopEndedError(self._model, self._said()) from None
        return float(self._heard())

    def _heard(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise LoopEndedError(self._model, self._said())
        return line.strip()

    def _said(self) -> str:
        self._process.wait()
        return self._process.stderr.read() if self._process.stderr else ""

    def _end(self) -> None:
        end(self._process)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was still to be written has nobody to read it
                    pipe.close()
        if self._limiter is not None:
            self._limiter.release()
            self._limiter = None


def loop_rps(run: Callable[[], object], seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """How often `run` ends per second, over whole runs that take at least `seconds` together."""
    started = now = clock()
    runs = 0
    while now - started < seconds:
        run()
        runs += 1
        now = clock()
    return runs / (now - started)


def main(library: Path, model: str, cores: float) -> None:
    """Say "ready" when warm; then measure for as many seconds as each line of the input says, and say the rate."""
    use_two_heaps()
    opened = Library(library)
    card = opened.card(model)
    runner = load_stage(card, opened.blobs, 0, len(card.blocks), threads=threads_for(cores))
    tensors = {spec.name: made_up_tensor(spec) for spec in card.inputs}
    for _ in range(_WARM_UP):
        runner.run(tensors)
    gc.freeze()
    _say("ready")
    for line in sys.stdin:
        loop_rps(lambda: runner.run(tensors), _SETTLE_S)
        _say(repr(loop_rps(lambda: runner.run(tensors), float(line))))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
