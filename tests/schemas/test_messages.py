"""Messages refuse what does not agree with itself."""

import pytest
from made_up_plans import made_up_plan
from pydantic import ValidationError

from schemas.deployment import Deployment, Pin
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from schemas.plan import ExitRule, Plan
from schemas.plan_text import parse_route

X = TensorSpec(name="x", dtype="float32", shape=(1, 4))


def card(**changes: object) -> ModelCard:
    def block(label: str, first: int, last: int) -> Block:
        return Block(
            label=label, first_node=first, last_node=last, macs=10, weight_bytes=8, peak_activation_bytes=16, blobs=(0,)
        )

    fields: dict[str, object] = {
        "name": "tiny",
        "source": "test",
        "graph": Blob(sha256="0" * 64, nbytes=10),
        "blobs": (Blob(sha256="1" * 64, nbytes=8),),
        "blocks": (block("a", 0, 2), block("b", 2, 3)),
        "cuts": (Cut(tensors=(X,)),) * 3,
        "inputs": (X,),
        "outputs": (X,),
    }
    return ModelCard.model_validate(fields | changes)


def test_a_card_adds_up() -> None:
    whole = card()
    assert whole.macs == 20
    assert whole.weight_bytes == 16
    assert whole.cuts[1].nbytes == 16
    assert whole.stage_blobs(0, 2) == whole.blobs


def test_a_card_is_known_by_its_content() -> None:
    assert card().sha256 == card().sha256
    assert card().sha256 != card(source="elsewhere").sha256
    assert ModelCard.model_validate_json(card().model_dump_json()).sha256 == card().sha256


def test_a_card_needs_one_cut_more_than_blocks() -> None:
    with pytest.raises(ValidationError, match="2 blocks need 3 cuts"):
        card(cuts=(Cut(tensors=(X,)),))


def test_a_card_cannot_name_a_blob_it_does_not_list() -> None:
    with pytest.raises(ValidationError, match="does not list"):
        card(blobs=())


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        card().name = "other"  # type: ignore[misc]


def test_a_deployment_with_an_empty_pin_or_a_weight_beyond_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="names no block"):
        Pin(device="camera", first=3, last=3)
    with pytest.raises(ValidationError):
        Deployment(deployment="cats", model="tiny", latency_weight=1.5)


PLAIN = "a[0:2) -> b[2:5)"
SHARED = "(a rows 0:9 from 0:23 + b rows 9:14 from 13:32)[0:2) -> b[2:5)"


def plan(exits: dict[str, int], *routes: str) -> Plan:
    return made_up_plan(
        map(parse_route, routes),
        exits=tuple(ExitRule(name=name.rstrip("'"), block=block, threshold=0.5) for name, block in exits.items()),
    )


def test_a_plans_exits_stand_behind_its_bands_and_before_its_last_block() -> None:
    assert [rule.block for rule in plan({"e1": 0, "e2": 3}, PLAIN).exits] == [0, 3]
    assert [rule.block for rule in plan({"e1": 2, "e2": 3}, PLAIN, SHARED).exits] == [2, 3]


@pytest.mark.parametrize(
    ("exits", "routes", "says"),
    [
        ({"e1": 0, "e1'": 3}, [PLAIN], "two exits have the same name"),
        ({"e1": 3, "e2": 0}, [PLAIN], "in the order"),
        ({"e1": 1, "e2": 4}, [PLAIN], r"exit e2 after block 4, not of \[0:4\)"),
        ({"e1": 9}, [PLAIN], r"after block 9, not of \[0:4\)"),
        ({"e1": 1}, [SHARED], r"exit e1 after block 1, not of \[2:4\): exits are behind what is side by side"),
        ({"e1": 1}, [PLAIN, SHARED], r"not of \[2:4\)"),
    ],
)
def test_a_plan_with_exits_where_none_can_be_is_refused(exits: dict[str, int], routes: list[str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        plan(exits, *routes)
