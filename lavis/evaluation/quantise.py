"""Int8 dynamic quantisation: does quantising a model, as is usual before serving it, bring back what was unlearned?"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LEVELS = 127


def rounded(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers −127 … 127 (as float) and one scale per row (…, 1), with numbers · scales ≈ values."""
    scale = values.abs().amax(dim=-1, keepdim=True) / LEVELS
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (values / scale).round(), scale


class Int8Linear(nn.Module):
    """A linear layer in symmetric int8, with one scale per row of weights and, at run time, per row of inputs.

    Products are of whole numbers, so this computes on every device what an int8 kernel does (float32 sums are exact up
    to 1,040 inputs, and to 1e-7 beyond). A row's result does not depend on its batch.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        numbers, scale = rounded(linear.weight.detach().float())
        self.register_buffer("weight", numbers)  # float: open_clip reads the weight's dtype
        self.register_buffer("scale", scale[:, 0])
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (…, in) to (…, out), in the inputs' dtype."""
        numbers, scale = rounded(inputs.float())
        output = F.linear(numbers, self.weight) * scale * self.scale
        return (output if self.bias is None else output + self.bias.float()).to(inputs.dtype)


def quantised(model: Any) -> Any:
    """A copy of a model (an nn.Module) with its linear layers in int8.

    nn.MultiheadAttention has bare weights and no layers: there, only the weights are rounded. Embeddings, convolutions,
    norms and bare projections stay as they are. Raises ValueError if there is no linear layer.
    """
    result = copy.deepcopy(model).eval()
    inside = {id(m.out_proj) for m in result.modules() if isinstance(m, nn.MultiheadAttention)}
    count = 0
    for module in list(result.modules()):
        if isinstance(module, nn.MultiheadAttention):
            for weight in (module.in_proj_weight, module.out_proj.weight):
                if weight is not None:
                    numbers, scale = rounded(weight.detach().float())
                    weight.data.copy_(numbers * scale)
                    count += 1
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and id(child) not in inside:
                setattr(module, name, Int8Linear(child))
                count += 1
    if not count:
        raise ValueError("the model has no linear layer to quantise")
    return result
