"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        "-b",
        metavar="URL",
        help="The broker's address; else $STAGELINE_BROKER, else mqtt://127.0.0.1:1883.",
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the outcome as JSON; '-' is standard output, without tables."),
]
Root = Annotated[str | None, typer.Option("--root", help="Topic root, if it is not stageline/v1.", hidden=True)]
Library = Annotated[
    Path | None, typer.Option("--library", metavar="DIR", help="Folder of the model library; else the hub's default.")
]
HubDir = Annotated[
    Path | None, typer.Option("--hub-dir", metavar="DIR", help="Folder of the hub's users; else the default.")
]

Journal = Annotated[
    Path, typer.Option("--journal", metavar="DIR", help="Folder of the journal, on a local disk; made when missing.")
]

Seed = Annotated[
    int,
    typer.Option(
        "--seed", min=0, max=2**31 - 1, help="Of all that chance decides: the same gives the same on the same machine."
    ),
]

Objective = Annotated[str, typer.Option("--objective", "-o", help="latency, throughput, energy or cost.")]
LatencyWeight = Annotated[
    float, typer.Option("--latency-weight", min=0, max=1, help="The w of cost = w * seconds + (1 - w) * joules.")
]
LatencyBound = Annotated[
    float | None,
    typer.Option(
        "--latency-bound-ms",
        min=0,
        help="With throughput: no route may be slower than this. With latency: the most accurate exits that keep it.",
    ),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option("--threshold", metavar="EXIT=0.8", help="Who is at least so sure leaves at this exit. Repeatable."),
]
ClosedExits = Annotated[
    list[str] | None, typer.Option("--close-exit", metavar="EXIT", help="Nobody leaves at this exit. Repeatable.")
]
AccuracyMin = Annotated[
    float | None,
    typer.Option(
        "--accuracy-min", min=0, max=1, help="Choose thresholds, with the split, that validation data says keep this."
    ),
]
Pins = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="DEVICE=A:B", help="Blocks A up to B stay on this device. Repeatable."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="DEVICE", help="Do not use this device. Repeatable.")
]
MemoryLimits = Annotated[
    list[str] | None,
    typer.Option("--memory-limit", metavar="DEVICE=MB", help="Use no more memory than this there. Repeatable."),
]
Codec = Annotated[
    str, typer.Option("--codec", help="For activations between stages: fp32, fp16 or u8, each also with +zstd.")
]
Policy = Annotated[
    str, typer.Option("--policy", help="How to plan: exact, best-single, ... (see `stageline plan policies`).")
]
Deployment = Annotated[
    str | None,
    typer.Option("--deployment", "-d", metavar="NAME", help="Which deployment; may be left out if only one."),
]
Weight = Annotated[
    float,
    typer.Option(
        "--weight", help="Its share of devices that other deployments use too, relative to theirs (0.01-100)."
    ),
]
SideBySide = Annotated[
    bool,
    typer.Option(
        "--side-by-side/--no-side-by-side",
        help="May several devices share the rows of the first blocks, where that is quicker? (objective latency)",
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it is served, or at once.")]
ServedWithin = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for it.")]
