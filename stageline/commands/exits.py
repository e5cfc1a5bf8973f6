"""`stageline exits`: what early exits are for, and which commands there are."""

from __future__ import annotations

from stageline.commands.conduct import DONE, Report, conduct


def exits() -> None:
    """Early exits: small heads inside a network, by which easy requests leave with their answer.

    stageline exits show mobilenet_v2                  (where exits may stand)

    stageline exits train mobilenet_v2 --data folder:my-pictures --heads-only --out my-exits

    stageline exits place my-exits --exits 2           (which of many to keep)

    stageline exits calibrate my-exits --accuracy-min 0.9

    stageline import my-exits/mobilenet_v2-exits.onnx

    stageline deploy mobilenet_v2-exits

    stageline exits set mobilenet_v2-exits exit1=0.7   (while it is served)

    Each explains itself with --help; docs/how-to/early-exits.md goes through an example.

    Exit codes: 0.
    """

    def work(report: Report) -> int:
        report.out.print(
            "stageline exits show MODEL|FOLDER   where exits may stand; what trained ones are worth\n"
            "stageline exits train MODEL         attach heads and train them\n"
            "stageline exits place FOLDER        which of many trained ones to keep\n"
            "stageline exits calibrate FOLDER    choose thresholds for an accuracy, again and again if you like\n"
            "stageline exits set DEPLOYMENT      change thresholds while it is served\n"
            "Each explains itself with --help.",
            markup=False,
        )
        return DONE

    conduct(None, work)
