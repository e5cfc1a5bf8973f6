import asyncio

import onnx
from end_to_end.small_line import stack_of_convolutions

from bench.adaptive.loads import LOADS, RATE_RPS, Examined
from bench.adaptive.measure import Run, follow
from bench.adaptive.replay import kinds_of
from bench.adaptive.trace import make_trace
from bench.chaos.load import references
from bench.line import joined, served
from bench.loads import SUBMITTER, at_rest, flat_out
from bench.profiles import MEASURED
from bench.testbed import testbed
from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage
from schemas.deployment import Deployment
from stageline.emulation.fleet_file import FleetFile

SECONDS = 1.5


def test_a_small_line_is_measured_at_rest_flat_out_and_disturbed_with_every_answer_compared(tmp_path):
    onnx.save(stack_of_convolutions(), tmp_path / "stack.onnx")
    library = Library(tmp_path / "library")
    card = import_model(str(tmp_path / "stack.onnx"), library)
    reference = load_stage(card, library.blobs, 0, len(card.blocks))
    devices = [{"name": "ant", "cores": 0.6}, {"name": "bee", "cores": 0.6}]
    fleet = FleetFile.model_validate({"name": "a test's", "device": devices})
    wish = Deployment(deployment="stack", model="stack", objective="throughput", policy="replicas")

    async def measure(bed):
        async with Bus(bed.url, name="test") as bus:
            await joined(bus, bed, links_settled=False)
            async with served(bus, bed, wish, reference=reference) as line:
                at_peace = await at_rest(line, 3), await flat_out(bed, line, 0.5)
                return line, *at_peace, [await disturbed(bus, bed, line, load) for load in LOADS]

    async def disturbed(bus, bed, line, load):
        run = Run("static", load, SECONDS, make_trace(["ant", "bee"], SECONDS, 0, kinds_of(bed)))
        examined = Examined(line.client, line.inputs, references(reference, line.inputs))
        await follow(bus, bed, run, examined, lambda _: None, settle_s=0.2)
        return run

    settings = {"STAGELINE_PROFILE_BUDGET_S": "0.2"}
    kept = {"STAGELINE_ADAPT": "0"}
    with testbed(fleet, library=library.root, shape=False, environment=settings, planner_environment=kept) as bed:
        line, latencies_ms, full, runs = asyncio.run(measure(bed))
        bed.check()
    reference.close()

    assert str(line.plan) == "r0: ant[0:{0}) | r1: bee[0:{0})".format(len(card.blocks))
    assert len(latencies_ms) == 3
    assert full.throughput_rps > 0
    assert line.client.audit.answered > 6
    assert line.client.audit.failed == 0
    assert line.error < 1e-4
    assert not line.replanned
    assert {"broker", "planner", "monitors", "workers", SUBMITTER} <= full.cpu_s.keys()
    assert ("a test's", "bee", "stack") in MEASURED.known
    for run in runs:
        assert run.figures["answered"] == run.figures["submitted"] > 0
        assert (run.figures["wrong"], run.figures["lost"], run.figures["failed"]) == (0, 0, {})
        assert [plan["generation"] for plan in run.plans] == [line.plan.generation]
        assert run.figures["energy_method"] == "modelled"
    assert runs[0].figures["submitted"] == int(RATE_RPS * SECONDS)
    assert {change.what for change in runs[0].trace} == {"load", "cores"}
