"""Settings: environment, then flags; bad values are one clear line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.monitor.settings import MonitorSettings
from services.planner.facts import HubFacts
from services.planner.settings import PlannerSettings
from services.settings import BadSettingsError, DeviceSettings, default_device_name, load
from stageline.settings import CommandSettings


def test_flags_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("STAGELINE_DEVICE", "from-environment")
    monkeypatch.setenv("STAGELINE_LOG_LEVEL", "DEBUG")
    settings = load(DeviceSettings, device="from-flag", log_level=None)
    assert settings.device == "from-flag"
    assert settings.log_level == "DEBUG"


def test_an_empty_variable_is_one_that_was_not_given(monkeypatch):
    monkeypatch.setenv("STAGELINE_CONNECT_TIMEOUT_S", "")
    assert load(DeviceSettings).connect_timeout_s is None


def test_variables_of_other_services_are_nobodys_business_here(monkeypatch):
    monkeypatch.setenv("STAGELINE_PLUG_TOPIC", "tele/plug/SENSOR")
    load(DeviceSettings)


def test_an_illegal_device_name_says_what_is_legal(monkeypatch):
    monkeypatch.setenv("STAGELINE_DEVICE", "kitchen/pi")
    with pytest.raises(
        BadSettingsError, match=r"STAGELINE_DEVICE \(--device\): 'kitchen/pi' cannot name a device: use"
    ):
        load(DeviceSettings)


@pytest.mark.parametrize("root", ["/leading", "a//b", "has space", "plus/+", "hash/#", ""])
def test_an_illegal_root_is_refused(root):
    with pytest.raises(BadSettingsError, match="cannot be a topic root"):
        load(DeviceSettings, root=root)


def test_a_bad_value_does_not_print_the_password(monkeypatch):
    monkeypatch.setenv("STAGELINE_BROKER", "mqtt://pi4:secret@hub")
    with pytest.raises(BadSettingsError) as caught:
        load(MonitorSettings, telemetry_period_s=0.0)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(load(MonitorSettings))


def test_the_planner_counts_the_submitters_hop(monkeypatch):
    assert load(PlannerSettings).hub_facts == HubFacts(1000.0, 1000.0, hop_ms=1.0, hub_mbps=None)
    monkeypatch.setenv("STAGELINE_SUBMITTER_HOP_MS", "4.5")
    assert load(PlannerSettings, hub_mbps=100.0).hub_facts == HubFacts(1000.0, 1000.0, hop_ms=4.5, hub_mbps=100.0)


@pytest.mark.parametrize("given", [{}, {"state_dir": "/srv/stageline"}, {"library": "/srv/models"}])
def test_planner_and_command_line_mean_the_same_library(given):
    assert load(PlannerSettings, **given).library_dir == load(CommandSettings, **given).library_dir


def test_settings_do_not_change():
    settings = load(DeviceSettings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.device = "another"


def test_an_unknown_flag_is_refused():
    with pytest.raises(BadSettingsError, match="STAGELINE_DEVIZE"):
        load(DeviceSettings, devize="pi4")


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("pi4", "pi4"),
        ("pi4.local", "pi4"),
        ("My Böx", "My-B-x"),
        ("-odd-", "odd"),
        ("___", "device"),
        ("", "device"),
        ("a" * 80, "a" * 64),
    ],
)
def test_a_host_name_becomes_a_legal_device_name(hostname, name):
    assert default_device_name(hostname) == name


@pytest.mark.parametrize("watts", [{"idle_w": 2.0}, {"busy_w": 6.0}, {"idle_w": 6.0, "busy_w": 2.0}])
def test_idle_and_busy_watts_come_together_and_in_order(watts):
    with pytest.raises(BadSettingsError, match="STAGELINE_BUSY_W"):
        load(MonitorSettings, **watts)


@pytest.mark.parametrize("topic", ["plug", "/tele/plug", "tele/+/SENSOR", "tele/#", "tele/"])
def test_a_plug_topic_is_one_whole_topic(topic):
    with pytest.raises(BadSettingsError, match="STAGELINE_PLUG_TOPIC"):
        load(MonitorSettings, plug_topic=topic)
