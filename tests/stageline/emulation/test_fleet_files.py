"""A fleet file is read, or refused with the field that is wrong and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from stageline.emulation.fleet_file import BadFleetError, FleetLink, load_fleet

DEVICE = '[[device]]\nname = "pi"\ncores = 1\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_a_device_gets_its_stated_cores_times_the_scale(tmp_path: Path) -> None:
    text = (
        'name = "two"\nscale = 0.5\n'
        '[[device]]\nname = "a"\ncores = 1.0\nmemory_mb = 512\npower = { idle_w = 1, busy_w = 4 }\n'
        '[[device]]\nname = "b"\ncores = 0.4\nlink = { up_mbps = 10, down_mbps = 20.5, delay_ms = 3 }\n'
    )
    fleet = load_fleet(written(tmp_path, text))
    a, b = fleet.devices
    assert (fleet.cores_here(a), fleet.cores_here(b), fleet.total_cores) == pytest.approx((0.5, 0.2, 0.7))
    assert (a.memory_bytes, b.memory_bytes) == (512 << 20, None)
    assert b.link == FleetLink(up_mbps=10, down_mbps=20.5, delay_ms=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"\n', "device: is missing; add it"),
        ('name = "x"\ndevice = []\n', "device: name at least one$"),
        (f'{DEVICE}[[device]]\nname = "x"\ncores = "two"\n', "name: is missing.*device 2, cores: .*valid number"),
        (f'name = "x"\n{DEVICE}{DEVICE}', "two devices are named 'pi'"),
        (f'name = "x"\n{DEVICE}memory = 3\n', "device 1, memory: there is no such field"),
        (f'name = "x"\n{DEVICE}power = {{ idle_w = 4, busy_w = 1 }}\n', "device 1, power: busy_w .1. must not be less"),
        (f'name = "x"\n{DEVICE}link = {{ up_mbps = 0, down_mbps = 1 }}\n', "device 1, link, up_mbps: .*greater than 0"),
        ('name = "x"\n[[device]]\nname = "a b"\ncores = 1\n', "device 1, name: .*pattern"),
        (f'name = "x"\nscale = nan\n{DEVICE}', "scale: .*finite"),
        (f'name = "x"\nscale = 1e-300\n{DEVICE}', "pi would get .* real cores .* at least 0.001"),
        ("name = \n", "is no TOML"),
        pytest.param("name = " + "[" * 5_000, "is no TOML", id="nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadFleetError, match=said) as caught:
        load_fleet(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadFleetError, match=r"cannot be read \(No such file"):
        load_fleet(tmp_path / "none.toml")
    (tmp_path / "fleet.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFleetError, match="is no text"):
        load_fleet(tmp_path / "fleet.toml")
