"""What each experiment is about, in the order of the report, and what its figures do not show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure

from bench.report import plots


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    experiment: str
    title: str
    about: str
    not_shown: str
    plot: Callable[[Mapping[str, Any]], Figure | None]


SECTIONS: Final = (
    Section(
        "seed_table",
        "Six models, six ways to run them",
        "On the emulated fleet H+M+L. The two single-device rows have the strongest device's quota; the others "
        "have all three devices. CPU is in percent of one core over the flat-out part, all processes of a system "
        "together; memory is what all of them but the submitting one held. Output error is the largest difference "
        "from the unsplit model, ONNX Runtime, same weights. The memory of the first three systems is not limited, so "
        "a single device may hold there what no device of Stageline's would. Energy of every row comes from the fleet "
        "file's power model and the CPU seconds that were used: it is modelled, not measured.",
        "Nothing about real boards: their memory bandwidth, heat and radio are not emulated. The weights are "
        "random (the time and the bytes do not depend on them), so the outputs are compared with each other, not "
        "with labels.",
        plots.seed_table,
    ),
    Section(
        "headline",
        "The headline: the paper's way, and the fair way",
        "The paper's way takes MobileNetV2 in eager PyTorch, one process with as many cores as the whole fleet and "
        "threads as PyTorch sets them, as the baseline, and reports the change that the distributed system brings; "
        "best_threads is the same with the number of threads that suits PyTorch best under that quota. The fair "
        "way gives the baseline the same runtime as the workers, ONNX Runtime, and the same total of cores. "
        "Latency is one request at a time, with the plan that is made for latency; throughput as many as the line "
        "takes, with the plan for throughput. PyTorch as it comes starts a thread for each core of the machine, more "
        "than the quota lets run at once, and that alone can make it several times slower than best_threads: read "
        "the two together.",
        "That splitting makes a model quicker: the two ways side by side show how much of the change the runtime "
        "brings. The published figures are of other machines and stand beside ours for orientation only.",
        plots.headline,
    ),
    Section(
        "limit",
        "To the limit of the devices",
        "The bound adds up what each device reaches alone: the whole model in a tight loop under the same quota, "
        "without bus, frames or planner. No plan for these devices can pass it, unless a part of the model fits a"
        " cache that the whole does not. The ratio is what is left after distribution; pairs are measured one "
        "right after the other.",
        "How near one gets when links, not processors, are the limit: these links are quicker than the devices.",
        plots.limit,
    ),
    Section(
        "policies",
        "Policies, same runtime, same services, same devices",
        "Each policy's plan is deployed through the real planner and served by the real workers; only the "
        "decision differs. Each point is a fleet and a model, relative to the best policy there.",
        "What the policies' own systems would do around them: their runtimes, transports and reactions to load "
        "are not reproduced, only how they place a model. AMP4EC chooses a node anew for every request and passes "
        "over busy ones; nsa-replicas keeps to fixed shares instead, which serves less. Neurosurgeon and HEFT plan for "
        "latency whatever is wanted, as published. Of each policy only the docstring's [P] and [C] are its authors'.",
        plots.policies,
    ),
    Section(
        "peers",
        "Other systems on the same machine, same weights, same input",
        "Each peer runs under the same quotas. PyTorch RPC and torch pipelining compute in eager PyTorch; Ray Serve, "
        "once as a pipeline and once as copies, computes with our runtime. The bare TCP pipeline is our own runtime "
        "without a broker: what it gains is what the bus costs. The controls are the whole model on one device and "
        "whole copies on every device.",
        "The peers at their best elsewhere: they are made for GPUs, for equal machines, for large batches. Here "
        "they get unequal slices of one processor and one picture at a time.",
        plots.peers,
    ),
    Section(
        "memory_bound",
        "A model that no device can hold",
        "VGG16, which needs 633 MB, on boards of 805 MB that each lend 500 MB to models: only a split can serve it (a "
        "quick run takes AlexNet and lends 200 MB). The kernel limits the boards, the worker's setting what is lent; a "
        "worker left to itself would lend less. Weights move once, on the first deployment.",
        "Swapping or reading weights from flash while serving, which some systems do instead.",
        plots.memory_bound,
    ),
    Section(
        "rows",
        "Rows side by side",
        "Latency of one request at a time on H+M+L with quick links: the planner's plan where it may share the rows of "
        "the first blocks among devices, and its best plan without, in turns; the ratio is of neighbours in time. "
        "devices_sharing is 0 where it did not share though it might: then both are the same plan. in_a_row is without "
        "a pause between requests, when quotas have no time to recover. Rounds in which the planner divided other "
        "blocks are told apart (other_plans); figures are of the plans that most rounds had.",
        "Devices that compute beside each other without sharing this machine's few cores, memory bandwidth and broker.",
        plots.rows_side_by_side,
    ),
    Section(
        "codec",
        "Codecs, cut by cut",
        "EfficientNet-Lite0 with its real weights. The first label of the split model with a codec is compared "
        "with that of the unsplit model without. Times are of one frame in this process, without a quota.",
        "Accuracy against true labels, and other models: where activations have long tails, as before an "
        "activation function, fewer bits cost more.",
        plots.codec,
    ),
    Section(
        "planning",
        "How planning scales",
        "Made-up fleets, all devices and links different. The gap is between what the plan promises and all devices "
        "computing all the time over free links (bound_rps), which pipelines of devices that are good at different "
        "blocks can pass by a little: then it is below 0. proved_bound_rps is what no plan can pass.",
        "Plans that are served: at these sizes only the decision is measured, on paper.",
        plots.planning,
    ),
    Section(
        "bus",
        "How the bus scales",
        "One mosquitto, more and more submitters and devices, until it carries no more. It uses one core however "
        "many there are, so what comes next is several brokers: a bridge per site that keeps frames local, or a "
        "clustered broker; no topic here depends on anything that those lack.",
        "Network cards and switches: all of it is one machine, whose cores the load generator shares.",
        plots.bus,
    ),
    Section(
        "overhead",
        "What everything but computing costs",
        "CPU seconds by process while MobileNetV2 is served flat out, and of a monitor that reports once a second.",
        "A slower broker host: as shares, these depend on what the devices can do.",
        plots.overhead,
    ),
)
