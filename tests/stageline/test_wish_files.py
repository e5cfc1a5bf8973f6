"""A file of deployments is what one would have typed, or refused with the field that is wrong and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.deployment import Pin
from stageline.wish_file import BadWishFileError, load_wishes
from stageline.wishes import make_wish

MODEL = '[[deployment]]\nmodel = "m"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "wishes.toml"
    path.write_text(text)
    return path


def test_every_option_has_its_field(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        MODEL + 'name = "cats"\nobjective = "throughput"\nlatency_bound_ms = 50\nlatency_weight = 0.2\nweight = 2\n'
        'pin = ["cam=0:3"]\nexclude = ["pi3"]\nmemory_limit = ["pi4=200"]\ncodec = "u8"\npolicy = "replicas"\n'
        'threshold = ["exit1=0.8"]\nclose_exit = ["exit2"]\n',
    )
    [wish] = load_wishes(path)
    typed = make_wish(
        "m", deployment="cats", objective="throughput", latency_bound_ms=50, latency_weight=0.2, weight=2,
        pins=["cam=0:3"], exclude=["pi3"], memory_limits=["pi4=200"], codec="u8", policy="replicas",
        thresholds=["exit1=0.8"], closed_exits=["exit2"],
    )  # fmt: skip
    assert wish == typed.model_copy(update={"requested": wish.requested})
    assert wish.pins == (Pin(device="cam", first=0, last=3),)
    assert (wish.thresholds, wish.closed_exits) == ({"exit1": 0.8}, ("exit2",))
    [wish] = load_wishes(written(tmp_path, f"{MODEL}accuracy_min = 0.9\n"))
    assert wish.accuracy_min == 0.9


def test_what_is_left_out_is_as_when_typing(tmp_path: Path) -> None:
    [wish] = load_wishes(written(tmp_path, MODEL))
    assert wish == make_wish("m").model_copy(update={"requested": wish.requested})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; write the deployments into it$"),
        ("# nothing yet\n", "is empty"),
        ("deployment = []\n", "deployment: name at least one$"),
        ('[deployment]\nmodel = "m"\n', r"deployment: write \[\[deployment\]\], with two brackets: .* several$"),
        ('deployment = ["m"]\n', "deployment 1: write a table, .*fields$"),
        (f'{MODEL}pin = "cam=0:3"\n', r'deployment 1, pin: write a list, like pin = \["...", "..."\]$'),
        (f"{MODEL}pin = [3]\n", "deployment 1, pin 1: Input should be a valid string$"),
        ('[[deployment]]\nname = "x"\n', "deployment 1, model: is missing"),
        (f"{MODEL}wieght = 2\n", "deployment 1, wieght: there is no such field"),
        (f'{MODEL}weight = "heavy"\n', "deployment 1, weight: .*valid number"),
        (f"{MODEL}weight = 0\n", "deployment 1, weight 0.*greater than or equal to 0.01"),
        (f'{MODEL}pin = ["cam"]\n', "deployment 1, pin cam: write DEVICE=FIRST:LAST, like cam=0:3"),
        (f'{MODEL}memory_limit = ["pi4"]\n', "deployment 1, memory_limit pi4: write DEVICE=MB, like pi4=200"),
        (f'{MODEL}objective = "speed"\n', "deployment 1, objective 'speed'.*latency"),
        (f'{MODEL}policy = "magic"\n', "deployment 1, policy: .*exact"),
        (f'{MODEL}threshold = ["exit1"]\n', "deployment 1, threshold exit1: write EXIT=SHARE"),
        (f'{MODEL}threshold = ["a=0.5", "b=1", "a=0.5"]\n', "deployment 1, threshold a=...: a is given twice"),
        (f'{MODEL}memory_limit = ["pi4=200", "pi4=300"]\n', "deployment 1, memory_limit pi4=...: pi4 is given twice"),
        (f"{MODEL}accuracy_min = 2\n", "deployment 1, accuracy_min 2.*less than or equal to 1"),
        (f'{MODEL}threshold = ["a=0.5"]\naccuracy_min = 0.9\n', "deployment 1, threshold and accuracy_min: "),
        (
            f'{MODEL}threshold = ["a=0.5"]\nclose_exit = ["b", "a"]\n',
            "deployment 1, threshold a=... and close_exit a: .*; leave one of them out$",
        ),
        (
            f'{MODEL}objective = "energy"\nlatency_bound_ms = 50\n',
            "deployment 1, latency_bound_ms only counts with objective throughput",
        ),
        (f'{MODEL}name = "a b"\n', "deployment 1, name 'a b'"),
        (f"{MODEL}{MODEL}", "deployment 2: another one is called 'm' too"),
        ("[[deployment]\n", "is no TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadWishFileError, match=said) as caught:
        load_wishes(path)
    assert str(path) in str(caught.value)
