"""`python -m bench.learning`: learning policies where the cost model is wrong, and where it is right."""

from __future__ import annotations

import json as to_json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.learning.regrets import DECISIONS, SETTLED, regrets
from bench.learning.scene import fleet_world, some_slow_links
from bench.learning.speed import decision_times
from bench.learning.transfer import trained_on, transferred
from services.planner.learning.learner import Proposer
from services.planner.learning.training import NoTrainingError
from services.planner.learning.ucb import Ucb
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct
from stageline.tables import new_table

DEFAULT_FOLDER: Final = Path("build/learning")
_HELP: Final = (
    "Measure what learning is worth where a link is twice as slow as the cost model believes, what it costs where "
    "nothing is wrong, how long a decision takes, and what training and transfer take.\n\n"
    "  python -m bench.learning              [dim]# some minutes on one core[/dim]\n"
    "  python -m bench.learning --quick      [dim]# about one[/dim]"
)

app: Final = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
def learning(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer worlds and steps: to see that it works.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results.json goes.")] = DEFAULT_FOLDER,
    json: options.Json = None,
) -> None:
    """Measure all of it."""

    def work(report: Report) -> int:
        found = _measured(report, quick=quick)
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(to_json.dumps(found, indent=2) + "\n", encoding="utf-8")
        _tell(report, found)
        report.write_json(found)
        return DONE

    conduct(json, work, known=(NoTrainingError,))


def _measured(report: Report, *, quick: bool) -> dict[str, Any]:
    count, noises, steps, seeds = (4, 1, 4_000, (0,)) if quick else (12, 3, 24_000, (0, 1))
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=report.err, transient=True, disable=not report.err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        wrong, right = some_slow_links(count), [fleet_world(seed) for seed in range(100, 100 + count)]
        # Trained on fleets that none of those is: what the policy knows is how to find out.
        actor, training = trained_on([fleet_world(seed) for seed in range(500, 508)], steps=steps, seed=0, tell=tell)
        proposers: dict[str, Proposer] = {"bandit": Ucb(), "ppo": actor}
        return {
            "quick": quick,
            "slow_link": [one.as_data() for one in regrets(wrong, proposers, noises=noises, tell=tell)],
            "nothing_wrong": [one.as_data() for one in regrets(right, proposers, noises=noises, tell=tell)],
            "throughput": [
                one.as_data()
                for one in regrets(
                    some_slow_links(max(2, count // 2), objective="throughput"),
                    {"bandit": Ucb()},  # what is trained is for one objective
                    noises=noises,
                    tell=tell,
                )
            ],
            "training": training,
            "transfer": transferred(steps=steps // 2, seeds=seeds, tell=tell),
            "decision": decision_times(proposers, rounds=3 if quick else 15),
        }


def _tell(report: Report, found: dict[str, Any]) -> None:
    titles = {
        "slow_link": "A link twice as slow as believed (latency)",
        "throughput": "The same, for throughput",
        "nothing_wrong": "Nothing wrong (latency)",
    }
    for key, title in titles.items():
        table = new_table(
            title, "policy", ">regret", f">last {SETTLED}", ">worst run", ">under 5 %", ">exact alone", ">explored",
            ">extra cost",
        )  # fmt: skip
        for row in found[key]:
            table.add_row(
                row["policy"], f"{row['regret']:.1%}", f"{row['regret_settled']:.1%}",
                f"{row['regret_settled_worst']:.1%}", f"{row['below_5_percent']} of {row['runs']}",
                f"{row['regret_of_exact']:.1%}", f"{row['explored']:.0%}", f"{row['extra_cost']:.1%}",
            )  # fmt: skip
        report.out.print(table)
    report.out.print(f"Means over runs of {DECISIONS} decisions; regret against the best plan of all.")
    training, transfer = found["training"], found["transfer"]
    report.out.print(
        f"Training: {training['steps']} decisions in {training['seconds']:.0f} s, {training['cpu_s']:.0f} s of "
        f"processor time ({training['cpu_ms_per_step']:.2f} ms each), {training['software']}"
    )
    for name in ("from_scratch", "transferred"):
        curve = transfer[name]
        report.out.print(
            f"{name}: mean regret {curve[0][1]:.1%} at {curve[0][0]} decisions, {curve[-1][1]:.1%} at last"
        )
    table = new_table("A decision, ms", ">devices", "policy", ">plans", ">problem", ">exact", ">gather", ">decide")
    for row in found["decision"]:
        table.add_row(
            str(row["devices"]), row["policy"], str(row["plans"]),
            *(f"{row[name]:.1f}" for name in ("problem_ms", "exact_ms", "gather_ms", "decide_ms")),
        )  # fmt: skip
    report.out.print(table)


if __name__ == "__main__":
    app()
