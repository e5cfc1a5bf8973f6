import asyncio

import onnx
from end_to_end.small_line import stack_of_convolutions

from bench.line import SUBMITTER, joined, measure_line
from bench.profiles import MEASURED
from bench.testbed import testbed
from broker.bus import Bus
from models.importer import import_model
from models.library import Library
from models.runtime import load_stage
from schemas.deployment import Deployment
from stageline.emulation.fleet_file import FleetFile


def test_a_small_line_is_measured_at_rest_and_flat_out_with_every_answer_compared(tmp_path):
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
            return await measure_line(bus, bed, wish, one_by_one=3, flat_out_s=0.5, reference=reference)

    settings = {"STAGELINE_PROFILE_BUDGET_S": "0.2"}
    with testbed(fleet, library=library.root, shape=False, environment=settings) as bed:
        found = asyncio.run(measure(bed))
    reference.close()

    assert found.plan == "r0: ant[0:{0}) | r1: bee[0:{0})".format(len(card.blocks))
    assert len(found.latencies_ms) == 3
    assert found.throughput_rps > 1
    assert found.answered > 6
    assert found.failed == 0
    assert found.max_abs_error < 1e-4
    assert not found.replanned
    assert {"broker", "planner", "monitors", "workers", SUBMITTER} <= found.cpu_s.keys()
    assert ("a test's", "bee", "stack") in MEASURED.known
