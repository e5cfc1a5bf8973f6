"""The demo's tables: devices, answers, and what was predicted beside what was measured."""

from __future__ import annotations

from rich.table import Table

from services.planner.fleet import Fleet
from stageline.demo.phases import Phase
from stageline.emulation.house import House
from stageline.tables import new_table


def devices_table(fleet: Fleet, running: House) -> Table:
    """One row per device: what it may use, and its way to the broker."""
    table = new_table(
        "Devices and their links to the broker", "device", ">cores", ">memory GB", ">idle/busy W", "power", ">rtt ms",
        ">up Mbit/s", ">down Mbit/s",
    )  # fmt: skip
    for emulated in running.devices:
        device = fleet.usable[emulated.name]
        if device.info is None or device.link is None:
            continue
        power, link = device.info.power, device.link
        table.add_row(
            emulated.name,
            f"{device.capacity_cores:.2f}",
            f"{device.info.memory_bytes / 1e9:.1f}",
            f"{power.idle_w:.1f}/{power.busy_w:.1f}",
            power.method,
            f"{link.rtt_ms:.1f}",
            f"{link.up_mbps:.0f}",
            f"{link.down_mbps:.0f}",
        )
    return table


def answers_table(phase: Phase) -> Table:
    """One row per picture, with the receipt's essentials."""
    table = new_table("Answers", "picture", "label", ">probability", ">off by", ">ms", "computed on", "energy")
    for one in phase.seen:
        best = one.answer.top(1)[0]
        receipt = one.answer.receipt
        table.add_row(
            one.path.name,
            best.label,
            f"{best.probability:.2f}",
            f"{one.max_abs_error:.1e}",
            f"{receipt.latency_ms:.0f}",
            " -> ".join(f"{stage.device} {stage.compute_ms:.1f} ms" for stage in receipt.stages),
            receipt.energy_text,
        )
    return table


def checks_table(phase: Phase) -> Table:
    """Predicted beside measured: the plan's latency and throughput, and every stage."""
    table = new_table(
        f"{phase.submitted} requests: {phase.answered} answered, {phase.failed} failed, {phase.lost} lost, "
        f"{phase.duplicates} seen twice", "", ">predicted", ">measured", ">off by",
    )  # fmt: skip
    predicted = phase.plan.predicted
    rows = [(f"stage {check.stage}, ms", check.predicted_ms, check.measured_ms) for check in phase.stages]
    if predicted is not None:
        rows = [
            ("latency, line at rest (mean), ms", predicted.latency_ms, phase.mean_ms),
            ("throughput, as fast as it goes, per s", predicted.throughput_rps, phase.throughput_rps),
            *rows,
        ]
    for text, expected, found in rows:
        table.add_row(text, f"{expected:.1f}", f"{found:.1f}", f"{off(expected, found):+.0%}")
    return table


def off(predicted: float, measured: float) -> float:
    """Relative error of a prediction."""
    return (predicted - measured) / measured if measured else 0.0
