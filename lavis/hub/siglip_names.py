"""SigLIP (arXiv 2303.15343) of open_clip, whose image tower is timm's, in transformers' words."""

from __future__ import annotations

from typing import Any

import torch

from lavis.common.errors import ConfigError
from lavis.hub.clip_names import BLOCK, State, renamed
from lavis.hub.open_clip_form import create
from lavis.hub.recipe import Recipe

NAMES = (
    ("visual.trunk.patch_embed.proj.", "vision_model.embeddings.patch_embedding."),
    ("visual.trunk.pos_embed", "vision_model.embeddings.position_embedding.weight"),
    ("visual.trunk.norm.", "vision_model.post_layernorm."),
    ("visual.trunk.attn_pool.latent", "vision_model.head.probe"),
    ("visual.trunk.attn_pool.in_proj_", "vision_model.head.attention.in_proj_"),
    ("visual.trunk.attn_pool.proj.", "vision_model.head.attention.out_proj."),
    ("visual.trunk.attn_pool.norm.", "vision_model.head.layernorm."),
    ("visual.trunk.attn_pool.mlp.", "vision_model.head.mlp."),
    ("text.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("text.token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("text.text_projection.", "text_model.head."),
    ("logit_", "logit_"),
)
LAYERS = (
    ("visual.trunk.blocks.", "vision_model.encoder.layers."),
    ("text.transformer.resblocks.", "text_model.encoder.layers."),
)
BLOCKS = (
    *BLOCK,
    ("norm1.", "layer_norm1."),
    ("norm2.", "layer_norm2."),
    ("attn.proj.", "self_attn.out_proj."),
    ("attn.qkv.", "self_attn.{}_proj."),
    ("mlp.", "mlp."),
)
POOL = "visual.trunk.attn_pool."


def is_siglip(recipe: Recipe) -> bool:
    """Whether the architecture is one that SiglipModel has: timm's transformer with a pooling head, no causal mask."""
    vision, text = (recipe.architecture[key] for key in ("vision_cfg", "text_cfg"))
    pooled = (vision.get("timm_pool"), vision.get("timm_proj")) in (("map", "none"), ("map", ""))
    return recipe.sigmoid and pooled and bool(text.get("no_causal_mask")) and text.get("pool_type") == "last"


def to_transformers(recipe: Recipe, state: State) -> tuple[dict[str, Any], State]:
    """config.json's content and the weights of a model for which `is_siglip`. Raises ConfigError for odd parts."""
    clip = create(recipe, {"pretrained_text": False})
    trunk, text = clip.visual.trunk, clip.text
    first, layer = trunk.blocks[0], text.transformer.resblocks[0]
    image = _tower(len(trunk.blocks), first.attn.num_heads, first.mlp.fc1, first.mlp.act, trunk.norm)
    words = _tower(len(text.transformer.resblocks), layer.attn.num_heads, layer.mlp.c_fc, layer.mlp.gelu, text.ln_final)
    words |= {"vocab_size": text.token_embedding.num_embeddings, "max_position_embeddings": recipe.context_length}
    words |= {"projection_size": text.text_projection.out_features}
    size = {"image_size": recipe.pixels.image_size, "patch_size": trunk.patch_embed.patch_size[0]}
    config = {"model_type": "siglip", "vision_config": image | size, "text_config": words}
    return config, renamed(_as_packed(state), NAMES, LAYERS, BLOCKS)


def _tower(layers: int, heads: int, wide: torch.nn.Linear, act: torch.nn.Module, norm: Any) -> dict[str, Any]:
    return {
        "hidden_size": wide.in_features,
        "intermediate_size": wide.out_features,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": _activation(act),
        "layer_norm_eps": norm.eps,
    }


def _activation(act: torch.nn.Module) -> str:
    """transformers' name of a GELU, found by its value at 1: 0.8413 exactly, 0.8412 by the tanh formula."""
    one = torch.ones(1, dtype=torch.float64)
    for name, kind in (("gelu", "none"), ("gelu_pytorch_tanh", "tanh")):
        if torch.isclose(act(one), torch.nn.functional.gelu(one, approximate=kind), atol=1e-9, rtol=0):
            return name
    raise ConfigError(f"export: SiglipModel has no activation {act}; use to=open_clip")


def _as_packed(state: State) -> State:
    """Query, key and value of the pooling head as one matrix; tables and numbers in transformers' shapes."""
    found = {name: value for name, value in state.items() if not name.startswith((f"{POOL}q.", f"{POOL}kv."))}
    for part in ("weight", "bias"):
        found[f"{POOL}in_proj_{part}"] = torch.cat([state[f"{POOL}q.{part}"], state[f"{POOL}kv.{part}"]])
    found["visual.trunk.pos_embed"] = state["visual.trunk.pos_embed"][0]
    return found | {name: state[name].reshape(1) for name in ("logit_scale", "logit_bias")}
