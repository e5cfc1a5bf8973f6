"""A backbone with heads attached: one forward pass gives the logits of every exit, and the backbone's own last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.exits.heads import HEAD_WIDTH, ExitHead


@dataclass(frozen=True)
class Tap:
    """Where an exit reads: the output of one submodule that runs once in every forward pass."""

    exit: str
    submodule: str
    """Its path, as `named_modules` says it."""


class TapError(ValueError):
    """A submodule that cannot be read; the message says which."""


class MultiExit(nn.Module):
    """`forward` returns one tensor of logits [batch, classes] per exit in the order of `taps`, then the final ones.

    The backbone is used as it is: heads read by forward hooks, so no code of it needs to change.

    Args:
        backbone: any module with one input, whose (first) output is logits.
        taps: where exits read, in the order in which a request meets them.
        example: one input, batch first; to see what the submodules give.
        width: of the heads (`ExitHead`).

    Raises:
        TapError: there is no such submodule, or it gives no one tensor.
        models.exits.heads.HeadShapeError: no head is made for what it gives.
    """

    def __init__(
        self, backbone: nn.Module, taps: Sequence[Tap], example: torch.Tensor, width: int = HEAD_WIDTH
    ) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.backbone = backbone
        known = dict(backbone.named_modules())
        for tap in self.taps:
            if tap.submodule not in known or not tap.submodule:
                raise TapError(f"exit {tap.exit} reads {tap.submodule!r}, which the model does not have")
        was_training = backbone.training
        backbone.eval()
        with torch.no_grad():
            features, final = self._features(example)
        backbone.train(was_training)
        self.classes = int(final.shape[-1])
        self.heads = nn.ModuleList(ExitHead(tuple(one.shape), self.classes, width) for one in features)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits of every exit, then the final ones."""
        features, final = self._features(inputs)
        return (*(head(one) for head, one in zip(self.heads, features, strict=True)), final)

    def _features(self, inputs: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        seen: dict[str, Any] = {}

        def remember(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                seen[name] = output

            return hook

        hooks = [
            self.backbone.get_submodule(tap.submodule).register_forward_hook(remember(tap.exit)) for tap in self.taps
        ]
        try:
            final = first_tensor(self.backbone(inputs))
        finally:
            for hook in hooks:
                hook.remove()
        for tap in self.taps:
            if not isinstance(seen.get(tap.exit), torch.Tensor):
                raise TapError(f"exit {tap.exit}: {tap.submodule} did not give one tensor; choose another place")
        return [seen[tap.exit] for tap in self.taps], final


def first_tensor(output: Any) -> torch.Tensor:
    """The logits of a module that may also give auxiliary ones, as Inception does while it is trained.

    Raises:
        TapError: it gives something else.
    """
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, torch.Tensor) or first.ndim != 2:
        raise TapError("the model's output is no logits [batch, classes]: exits are for classifiers")
    return first
