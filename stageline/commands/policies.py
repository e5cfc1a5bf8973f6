"""`stageline plan policies`: every way of planning there is, and where it is from."""

from __future__ import annotations

from rich.markup import escape

from services.planner.policies import POLICIES
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct
from stageline.tables import new_table


def policies(json: options.Json = None) -> None:
    """List the names for --policy (of deploy, plan --dry-run and plan compare), with the paper that each is from.

    Exit codes: 0 listed.
    """

    def work(report: Report) -> int:
        table = new_table(None, "policy", "~from")
        for policy in POLICIES:
            table.add_row(policy.name, escape(policy.citation))
        report.out.print(table)
        report.write_json([{"policy": policy.name, "citation": policy.citation} for policy in POLICIES])
        return DONE

    conduct(json, work)
