"""`stageline`: the command line. This file knows each command's name and nothing more of it.

A command is a function in a module of its own below `stageline.commands`, imported when it is used: `stageline --help`
stays quick, and a Pi without PyTorch never imports what only `stageline import` needs.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from stageline.watch_line import watch_line

_HELP: Final = (
    "One neural network, spread over every computer in the drawer.\n\n"
    "Stageline measures each device and each link, decides how a model is best spread over them, runs it over MQTT, "
    "and plans anew when a device slows down or is lost. A first answer, on this machine alone: "
    "[bold]stageline demo[/bold]. On your own devices:\n\n"
    "  stageline hub                          [dim]# broker and planner[/dim]\n"
    "  stageline join mqtt://HUB --name pi4   [dim]# on each device[/dim]\n"
    "  stageline import mobilenet_v2          [dim]# on the hub: a model in blocks[/dim]\n"
    "  stageline deploy mobilenet_v2          [dim]# measured, planned, served[/dim]\n"
    "  stageline infer cat.jpg holiday/       [dim]# answers, with receipts[/dim]"
)
_EPILOG: Final = (
    "The broker is --broker, else $STAGELINE_BROKER, else mqtt://127.0.0.1:1883. Results are tables, or JSON with "
    "--json FILE ('-' is standard output). Exit codes: 0 done; 1 some of the work failed; 2 something for you to mend, "
    "said in one line (an option, no broker, an unknown model). Watch everything but tensors and weights: "
    f"{watch_line()}"
)


class Entry(NamedTuple):
    """Where a command lives and what it says of itself in the list of commands."""

    panel: str
    target: str
    """`module:function`, below `stageline.commands`."""
    summary: str


_START: Final = "Start here"
_MODELS: Final = "Models and plans"
_USE: Final = "Use and watch"
_SET_UP: Final = "Set up machines"

COMMANDS: Final[dict[str, Entry]] = {
    "demo": Entry(_START, "demo:demo", "A real picture classified by three unequal devices, on this machine."),
    "hub": Entry(_START, "hub:hub", "Run the broker and the planner; this machine only, unless users are set up."),
    "join": Entry(_START, "join:join", "Make this machine a device of a hub."),
    "import": Entry(_MODELS, "import_model:import_model", "Turn a model into blocks and weights in the library."),
    "exits": Entry(_MODELS, "exits:exits", "Early exits: heads by which easy requests leave a network early."),
    "exits show": Entry(_MODELS, "exits_show:show", "Where exits may stand; what trained ones are worth."),
    "exits train": Entry(_MODELS, "exits_train:train", "Attach exits to a PyTorch network and train them."),
    "exits place": Entry(_MODELS, "exits_place:place", "Which of many trained exits to keep, by every method."),
    "exits calibrate": Entry(_MODELS, "exits_calibrate:calibrate", "Choose the exits' thresholds for an accuracy."),
    "models": Entry(_MODELS, "models:models", "The models that can be deployed."),
    "deploy": Entry(_MODELS, "deploy:deploy", "Have a model served: measured, planned, loaded, ready."),
    "pin": Entry(_MODELS, "pin:pin", "Keep blocks of a deployment on a device, while it serves."),
    "exclude": Entry(_MODELS, "exclude:exclude", "Serve a deployment without some devices, or with them again."),
    "exits set": Entry(_MODELS, "exits_set:set_exits", "Where requests may leave early, while a deployment serves."),
    "undeploy": Entry(_MODELS, "undeploy:undeploy", "Stop serving a deployment."),
    "plan": Entry(_MODELS, "plan:plan", "Which blocks run where, what else was considered, and why."),
    "plan compare": Entry(_MODELS, "compare:compare", "Every planning policy on the same model and fleet, on paper."),
    "plan policies": Entry(_MODELS, "policies:policies", "The planning policies, and the papers they are from."),
    "learn": Entry(_MODELS, "learn:learn", "What learning policies found out: plans tried, what they cost, regret."),
    "learn train": Entry(
        _MODELS, "learn_train:learn_train", "Train a policy from a recording, or for a fleet on paper."
    ),
    "learn show": Entry(_MODELS, "learn_show:learn_show", "What a trained policy is for, and where it is from."),
    "infer": Entry(_USE, "infer:infer", "Run pictures, folders or .npy tensors through a deployment."),
    "submit": Entry(_USE, "submit:submit", "Hand requests over to a journal on disk, and go; nothing else need run."),
    "gateway": Entry(_USE, "gateway:gateway", "Deliver a journal's requests: each answer shown once, whatever dies."),
    "top": Entry(_USE, "top:top", "Devices, stages, queues and rates, live."),
    "record": Entry(_USE, "record:record", "Write down what the fleet says, for `stageline replay`."),
    "replay": Entry(_USE, "replay:replay", "What a policy would have decided during a recording."),
    "doctor": Entry(_USE, "doctor:doctor", "Check broker, rights, planner and devices; say how to mend them."),
    "bench": Entry(_USE, "bench:bench", "Measure this installation; the figures of docs/performance.md."),
    "invite": Entry(_SET_UP, "invite:invite", "Let a device or a person in; prints the line to run there."),
    "drain": Entry(_SET_UP, "drain:drain", "Move a device's work away, so that it may be switched off."),
    "forget": Entry(_SET_UP, "forget:forget", "Remove what the broker keeps of a device that is gone."),
    "install": Entry(_SET_UP, "install:install", "Write systemd units for a device or a hub."),
}


_UsageError: Final[type[Any]] = typer.BadParameter.__bases__[0]
"""What typer raises of arguments that cannot be used; it has no public name for it."""


class _LazyGroup(TyperGroup):
    """Lists commands from the table above, and imports only the one that is run; a command may have two words."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, and end with the command's code; arguments that cannot be used are told in one line."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        options["standalone_mode"] = False
        try:
            code = super().main(*args, **options)
        except _UsageError as error:
            if line := _usage_line(error):
                typer.echo(line, err=True)
            code = error.exit_code
        except typer.Abort:
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        two = " ".join(args[:2])
        if len(args) > 1 and two in COMMANDS:
            return two, load(two), args[2:]
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name is not None else None, rest


def _usage_line(error: Any) -> str:
    """`stageline: No such option: --polcy ... (stageline plan --help)`; nothing where the help was shown instead."""
    message = str(error.format_message())
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        return ""
    where = error.ctx.command_path if error.ctx is not None else "stageline"
    return f"stageline: {' '.join(message.split()).rstrip('.')} ({where} --help)"


def load(name: str) -> Any:
    """The command of that name, imported."""
    module, _, target = COMMANDS[name].target.partition(":")
    function = getattr(import_module(f"stageline.commands.{module}"), target)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(name, help=flowing(inspect.getdoc(function) or ""))(function)
    return get_command(single)


def flowing(text: str) -> str:
    """A docstring whose paragraphs are one line each, for a terminal of any width; lines of examples stay lines."""
    joined = re.sub(r"\n(?!\n|\s|stageline )(?<!\n\n)", " ", text)
    return re.sub(r"(?<=\S) {3,}", "   ", joined)


def _placeholder() -> None:
    """Stands in the list of commands; `_LazyGroup` runs the real one."""


def _build() -> typer.Typer:
    made = typer.Typer(
        name="stageline",
        cls=_LazyGroup,
        help=_HELP,
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, entry in COMMANDS.items():
        made.command(name, help=entry.summary, rich_help_panel=entry.panel)(_placeholder)
    made.callback()(_root)
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stageline {version('stageline')}")
        raise typer.Exit


def _root(
    shown: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app: Final = _build()


def main() -> None:
    """Entry point of `stageline`; exits with the command's code."""
    app()


if __name__ == "__main__":
    main()
