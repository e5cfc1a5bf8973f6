"""Idle and busy watts, learnt from a sensor's readings at varied load."""

from __future__ import annotations

import random

import pytest

from services.capacity import Capacity
from services.monitor.power.fit import PowerFit
from services.monitor.power.meter import PowerMeter
from services.monitor.power.model import power_model

SIZE = Capacity(cores=4, capacity_cores=4.0, memory_bytes=1, memory_free_bytes=1)


def test_a_noisy_line_is_found():
    rng, fit = random.Random(7), PowerFit()
    for _ in range(600):
        load = rng.random()
        fit.add(load, 2.2 + 4.1 * load + rng.gauss(0, 0.2))
    assert fit.line.idle_w == pytest.approx(2.2, abs=0.3)
    assert fit.line.busy_w == pytest.approx(6.3, abs=0.3)


def test_a_device_that_was_always_idle_has_learnt_nothing_of_being_busy():
    rng, fit = random.Random(7), PowerFit()
    for _ in range(600):
        fit.add(0.02 * rng.random(), 2.2 + 0.1 * rng.random())
    assert fit.line is None


def test_a_few_readings_are_not_enough():
    fit = PowerFit()
    for number in range(40):
        fit.add(number % 2, 2.0 + number % 2)
    assert fit.line is None


def test_watts_that_fall_with_the_load_are_not_explained_by_it():
    fit = PowerFit()
    for number in range(600):
        fit.add(number % 2, 6.0 - 3 * (number % 2))
    assert fit.line is None


def test_noise_does_not_move_a_line_that_was_said():
    rng, fit, said = random.Random(7), PowerFit(), set()
    for _ in range(3000):
        load = rng.random()
        fit.add(load, 2.2 + 4.1 * load + rng.gauss(0, 0.1))
        said.add(fit.line)
    assert len(said) <= 3  # none, and one or two early ones


class Meter:
    source = "a meter"

    def __init__(self) -> None:
        self.load = 0.0

    async def watts(self) -> float:
        return 3.0 + 2.0 * self.load


async def test_a_meter_replaces_the_tables_constants_once_it_knows_better():
    meter = Meter()
    power = PowerMeter(meter, lambda size: power_model("pi-4", size))
    assert power.model(SIZE).method == "modelled"
    for number in range(200):
        meter.load = number % 10 / 10
        await power.read(meter.load, SIZE)
    learnt = power.model(SIZE)
    assert (learnt.method, learnt.source) == ("measured", "fitted to a meter")
    assert learnt.idle_w == pytest.approx(3.0, abs=0.01)
    assert learnt.busy_w == pytest.approx(5.0, abs=0.01)


async def test_a_reading_that_is_only_repeated_teaches_nothing():
    meter = Meter()
    power = PowerMeter(meter, lambda size: power_model("pi-4", size))
    for number in range(400):
        await power.read(number % 10 / 10, SIZE)
    assert power.model(SIZE).method == "modelled"
