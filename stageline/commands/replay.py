"""`stageline replay`: what a policy would have decided during a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.planner.policies import UnknownPolicyError, find_policy
from services.planner.settings import PlannerSettings
from services.settings import load
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct
from stageline.recording import Recording, RecordingError
from stageline.replay_outcome import document, show
from stageline.replaying import replay as play


def replay(
    file: Annotated[Path, typer.Argument(help="A recording (`stageline record FILE`).")],
    policy: Annotated[
        str | None, typer.Option("--policy", help="Plan by this one (`stageline plan policies`); else as it was asked.")
    ] = None,
    json: options.Json = None,
) -> None:
    """Play a recording through the planner's own decisions: what would have been decided, when and why.

    stageline replay monday.jsonl

    stageline replay monday.jsonl --policy best-single

    Needs no broker and changes nothing. Beside what would have been stands what really was. Links of submitters and hub
    are taken from the same settings as the planner's (STAGELINE_SUBMITTER_MBPS, ...).

    Exit codes: 0 played; 1 it holds no deployment that could be planned; 2 to mend: no recording, no such policy.
    """

    def work(report: Report) -> int:
        if policy is not None:
            find_policy(policy)
        recording = Recording(file)
        with report.err.status("replaying") as status:
            outcome = play(
                recording,
                policy=policy,
                hub=load(PlannerSettings).hub_facts,
                progress=lambda at_s: status.update(f"replaying: {at_s:.0f} s"),
            )
        if recording.cut_short:
            report.err.print("The recording's last line was cut short, and is left out.")
        show(report.out, outcome, policy=policy or "replayed")
        report.write_json({"file": str(file), "policy": policy, "began": recording.header.began, **document(outcome)})
        return DONE if any(row.who == "replayed" and row.plan for row in outcome.rows) else SOME_FAILED

    conduct(json, work, known=(RecordingError, UnknownPolicyError))
