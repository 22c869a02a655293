"""What mini learns: to match scenes with captions, and to name what is in them.

In: a model, a batch and names as tokens. Out: a loss, and figures to watch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clipsearch.clip.model import CLIP
from training.plan import Plan
from training.reservoir import Batch

Figures = dict[str, float]


def loss_of(
    model: CLIP, batch: Batch, names: Tensor, plan: Plan, step: int
) -> tuple[Tensor, Figures]:
    """The loss and what to print of it. `names` int64 `[concepts, T]`: one wording of each."""
    device = model.logit_scale.device
    images = F.normalize(model.encode_image(batch.pixels.to(device)).float(), dim=-1)
    texts = F.normalize(model.encode_text(batch.tokens.to(device)).float(), dim=-1)
    scale = model.logit_scale.exp()
    contrast, right = matching(scale * images @ texts.T)
    with torch.set_grad_enabled(step % plan.name_every == 0):
        name_vectors = F.normalize(model.encode_text(names.to(device)).float(), dim=-1)
    naming, named = naming_of(scale * images @ name_vectors.T, batch.concepts.to(device))
    figures = {
        "contrast": contrast.item(),
        "right": right.item(),
        "naming": naming.item(),
        "named": named.item(),
    }
    return contrast + plan.name_weight * naming, figures


def matching(logits: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's symmetric loss over `[pictures, captions]`, and how many captions find theirs."""
    target = torch.arange(len(logits), device=logits.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return loss, (logits.argmax(0) == target).float().mean()


def naming_of(logits: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of `[pictures, names]` for the concepts `[pictures, 3]` that are shown.

    Each of a picture's concepts counts equally; -1 stands for none. The second value is how many
    pictures have a name nearest that is right.
    """
    logits = logits.log_softmax(-1)
    shown = concepts >= 0
    picked = logits.gather(1, concepts.clamp(min=0)) * shown
    loss = -(picked.sum(1) / shown.sum(1)).mean()
    return loss, (logits.argmax(1)[:, None] == concepts).any(1).float().mean()
