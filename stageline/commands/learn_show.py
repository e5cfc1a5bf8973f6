"""`stageline learn show`: what a trained policy is for, and where it is from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from services.planner.learning.policy_file import PolicyFileError, load_policy
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct
from stageline.tables import new_table


def learn_show(
    file: Annotated[Path, typer.Argument(help="A policy file (`stageline learn train`).")],
    json: options.Json = None,
) -> None:
    """Show what a trained policy is for: its model, objective and fleet, and how it was trained.

    stageline learn show policy.npz

    Nothing in such a file is ever run: it holds numbers and a header. The hub takes it by STAGELINE_LEARNED=FILE
    stageline hub, and uses it for deployments with --policy ppo of this model on this fleet; for others only with
    STAGELINE_LEARNED_TRANSFER=true, too.

    Exit codes: 0 shown; 2 to mend: no such file, or one that holds no policy that this stageline can use.
    """

    def work(report: Report) -> int:
        trained = load_policy(file)
        header = trained.header
        origin = f", going on from {header.transferred[:12]}" if header.transferred else ""
        report.out.print(
            f"{escape(str(file))}: for {header.model} ({header.card_sha[:12]}), objective {header.objective}; "
            f"{header.steps} decisions in {header.trained_s:.0f} s, seed {header.seed}{origin}, "
            f"{escape(header.software)}"
        )
        table = new_table(None, "device", ">cores", ">whole model ms")
        for one in header.fleet:
            table.add_row(one.device, f"{one.cores:.3g}", f"{one.whole_ms:.1f}")
        report.out.print(table)
        layers = [list(weights.shape) for weights, _ in trained.actor.layers]
        report.write_json({**header.model_dump(mode="json"), "layers": layers, "sha256": trained.sha256})
        return DONE

    conduct(json, work, known=(PolicyFileError,))
