"""What survives what: each scenario breaks something real while requests run, and every answer is compared.

    python -m bench.chaos                                  # everything
    python -m bench.chaos --only worker-killed-in-pipeline # one; may be repeated
    python -m bench.chaos --quick --json build/chaos.json  # a small model, small loads, devices shared by scenarios

A scenario is a value (`scenario.Scenario`): a name, what must hold, a fleet, a wish, a load, a fault, limits. The fault
is an async function that is given the running `scene.Scene` and breaks something:

    async def _killed(scene: Scene) -> None:
        victim = scene.plan.routes[0].devices[0]
        await scene.busy(victim)                       # requests are under way there
        scene.strike(f"SIGKILL {victim}'s worker")     # from here detect_ms, replan_ms, ... are counted
        scene.bed.device(victim).kill("worker")
        plan = await scene.replanned(within_s=20)      # another generation is current
        scene.demand(victim not in plan.devices, f"{plan} still uses {victim}")
        await scene.answered(plan.generation, within_s=20)

    SCENARIOS = (
        Scenario(
            name="worker-killed-in-pipeline", must_hold="first answer on the new plan within 2 s", fleet="three",
            wish=pipeline, fault=_killed, limits={"first_answer_ms": 2000},
        ),
    )

The load runs before, during and after the fault (`scenario.Load`), paced, by one real `stageline.client.Client`; more
submitters are the fault's own business (`scene.say` and `scene.figure` tell of them). Always checked, without being
asked for: nothing lost, nothing shown twice, nothing wrong. What it broke (a killed service) the fault mends itself
before it returns, since the next scenario may share the devices.

Modules of `bench.chaos.scenarios` that have `SCENARIOS` are named in its `__init__`.
"""
