"""What training makes small: one number from the logits of every exit and of the final output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional


def weighted_loss(
    logits: Sequence[torch.Tensor],
    labels: torch.Tensor,
    weights: Sequence[float],
    *,
    distil: float = 0.0,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Weighted mean of the cross entropies of all outputs (BranchyNet, Teerapittayanon et al., ICPR 2016).

    With `distil`, so much of each exit's loss is its divergence from the final output instead, which is not moved
    towards the exits in turn (self-distillation: Zhang et al., "Be your own teacher", ICCV 2019).

    Args:
        logits: [batch, classes] of each exit in order, then the final ones.
        labels: int64 [batch].
        weights: one for each of `logits`; not all 0.
        distil: 0 to 1.
        temperature: both sides' logits are divided by it; the loss is multiplied by its square, so that gradients
            stay as large.
    """
    final = logits[-1]
    softened = functional.log_softmax(final.detach() / temperature, dim=1)
    total = final.new_zeros(())
    for place, (one, weight) in enumerate(zip(logits, weights, strict=True)):
        if not weight:
            continue
        share = distil if place < len(logits) - 1 else 0.0
        if share < 1:
            total = total + weight * (1 - share) * functional.cross_entropy(one, labels)
        if share > 0:
            away = functional.kl_div(
                functional.log_softmax(one / temperature, dim=1), softened, reduction="batchmean", log_target=True
            )
            total = total + weight * share * temperature**2 * away
    return total / sum(weights)
