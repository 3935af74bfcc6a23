"""Int8 dynamic quantisation: does quantising a model, as one does before serving it, bring back what was unlearned?"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LEVELS = 127


def rounded(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers −127 … 127 (as float) and scales (…, 1), row by row, so that numbers · scales ≈ values."""
    scale = values.abs().amax(dim=-1, keepdim=True) / LEVELS
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (values / scale).round(), scale


class Int8Linear(nn.Module):
    """A linear layer in int8: symmetric, its weights with one scale a row, its inputs with one a row at run time.

    The products are of whole numbers, so this computes on every device what an int8 kernel does (float32 holds
    their sums exactly up to 1,040 inputs, and to 1e-7 beyond). Rows do not depend on the batch they come in.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        numbers, scale = rounded(linear.weight.detach().float())
        self.register_buffer("weight", numbers)  # whole numbers; open_clip asks for a weight's type
        self.register_buffer("scale", scale[:, 0])
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (…, in) to (…, out), in the inputs' type."""
        numbers, scale = rounded(inputs.float())
        found = F.linear(numbers, self.weight) * scale * self.scale
        return (found if self.bias is None else found + self.bias.float()).to(inputs.dtype)


def quantised(model: Any) -> Any:
    """A copy of a model (an nn.Module) with its linear layers in int8.

    Inside nn.MultiheadAttention, whose layers are bare weights, the weights alone are rounded. Embeddings,
    convolutions, norms and bare projections stay as they are. Raises ValueError when there is no linear layer.
    """
    made = copy.deepcopy(model).eval()
    inside = {id(m.out_proj) for m in made.modules() if isinstance(m, nn.MultiheadAttention)}
    count = 0
    for module in list(made.modules()):
        if isinstance(module, nn.MultiheadAttention):
            weights = (module.in_proj_weight, module.out_proj.weight)
            count += sum(_round_in_place(weight) for weight in weights if weight is not None)
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and id(child) not in inside:
                setattr(module, name, Int8Linear(child))
                count += 1
    if not count:
        raise ValueError("the model has no linear layer to quantise")
    return made


@torch.no_grad()
def _round_in_place(weight: torch.Tensor) -> bool:
    numbers, scale = rounded(weight.float())
    weight.copy_(numbers * scale)
    return True
