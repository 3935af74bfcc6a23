"""LoRA (Hu et al., arXiv 2106.09685) by `peft`: linear layers get trainable factors; what is saved is merged.

W' = W + alpha/rank · B A,  with B = 0 at first
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from lavis.common.seed import derived_seed

State = dict[str, torch.Tensor]
BASE, FACTORS = ".base_layer.", frozenset({"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"})


def linear_weights(network: nn.Module) -> dict[str, str]:
    """Names of the weights that LoRA can be put on -> names of their layers.

    A subclass of nn.Linear does not count: torch's attention reads such weights without calling the layer.
    """
    return {f"{name}.weight": name for name, part in network.named_modules() if type(part) is nn.Linear}


def add_lora(network: nn.Module, layers: Collection[str], rank: int, alpha: float, seed: int) -> None:
    """Put factors on the layers of these names, and freeze everything else. Draws depend on `seed` alone."""
    from peft import LoraConfig, inject_adapter_in_model

    pattern = "|".join(map(re.escape, sorted(layers)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "lora"))
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=pattern), network)  # type: ignore


def merged_state(network: nn.Module) -> State:
    """The state dict as if the factors had been added to their weights, under the network's own names."""
    state = {name: value for name, value in network.state_dict().items() if not FACTORS & set(name.split("."))}
    for name, part in network.named_modules():
        layer: Any = part
        if hasattr(part, "base_layer") and f"{name}{BASE}weight" in state:
            state[f"{name}{BASE}weight"] = layer.base_layer.weight.detach() + layer.get_delta_weight("default").detach()
    return {name.replace(BASE, "."): value for name, value in state.items()}
