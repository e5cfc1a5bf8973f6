"""The worker: settings -> connect -> serve until it is told to stop."""

from __future__ import annotations

import gc
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.heap import use_two_heaps
from services.lifecycle import launch
from services.settings import load
from services.supervision import supervised
from services.worker.settings import WorkerSettings
from services.worker.worker import Worker

_SWITCH_INTERVAL_S: Final = 0.001
"""A build holds the interpreter's lock at times: frames should not wait the usual 5 ms for it each time."""


async def serve(settings: WorkerSettings) -> None:
    """Be a worker until cancelled."""
    use_two_heaps()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # What is imported by now stays for good: looking through it again would hold a frame up for milliseconds.
    gc.freeze()
    worker = Worker(settings)
    async with supervised(worker.advances, worker.status) as ready, worker:
        await worker.serve(ready)


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def worker(  # noqa: PLR0917  each flag has its help beside it
    broker: Annotated[str | None, typer.Option(help="Where the broker is: mqtt://user:password@hub:1883.")] = None,
    device: Annotated[
        str | None, typer.Option(help="This device's name on the bus; the host name if not given.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="onnxruntime, or torch where that is installed.")] = None,
    threads: Annotated[int | None, typer.Option(help="Compute threads; as many as there are whole cores.")] = None,
    memory_budget_mb: Annotated[float | None, typer.Option(help="What stages may take in all, MB.")] = None,
    capacity_cores: Annotated[float | None, typer.Option(help="Lend at most this many cores.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where weights are kept.")] = None,
    cache_mb: Annotated[float | None, typer.Option(help="Weights kept on disk at most, MB.")] = None,
    root: Annotated[str | None, typer.Option(help="Topic root, if it is not stageline/v1.")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    connect_timeout_s: Annotated[
        float | None, typer.Option(help="Give up when there is no broker for so long.")
    ] = None,
) -> None:
    """Compute stages of models for a Stageline hub.

    Start it on every device that has cycles to spare, beside stageline-monitor. It waits for plans, fetches the
    weights of the blocks it is given (and no others), and passes tensors on over MQTT. Each flag can be given in the
    environment instead: --memory-budget-mb 300 is STAGELINE_MEMORY_BUDGET_MB=300; flags win. Rarer settings are in
    the environment only: STAGELINE_DRAIN_S, STAGELINE_RECEIVE_MAXIMUM, STAGELINE_PROFILE_BUDGET_S.

    SIGTERM stops it in good order. Exit codes: 0 stopped, 1 crashed (start it again), 2 something to be mended, which
    the last log line names.
    """
    flags = dict(locals())
    raise typer.Exit(launch(partial(load, WorkerSettings, **flags), serve))


def main() -> None:
    """Entry point of `stageline-worker`."""
    app()


if __name__ == "__main__":
    main()
