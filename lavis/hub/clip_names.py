"""CLIP in open_clip's words and in transformers' words: sizes, and names of weights, both ways.

Only the plain architecture of Radford et al. (arXiv 2103.00020) has both forms: two transformers, a class token,
captions read at their end. What goes beyond it is refused by name.
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch

from lavis.common.errors import ConfigError
from lavis.hub.open_clip_form import FREE, normalised
from lavis.hub.recipe import Recipe, differences

State = dict[str, torch.Tensor]
Table = tuple[tuple[str, str], ...]  # open_clip's words, transformers' words
START, END = 49406, 49407  # ids of the two special tokens of CLIP's tokenizer
BLOCK = (
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.out_proj.", "self_attn.out_proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.in_proj_", "self_attn.{}_proj."),  # query, key and value, one below the other
)
NAMES = (
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.proj", "visual_projection.weight"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("ln_final.", "text_model.final_layer_norm."),
    ("text_projection", "text_projection.weight"),
    ("logit_scale", "logit_scale"),
)
LAYERS = (
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
)
TRANSPOSED = frozenset({"visual.proj", "text_projection"})
VISION_SIZES = ("layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size")
TEXT_SIZES = ("layers", "width", "heads", "mlp_ratio", "context_length", "vocab_size")
ACTIVATIONS = {"quick_gelu": True, "gelu": False}  # transformers' name -> open_clip's quick_gelu
EPSILON = 1e-5  # of every LayerNorm of open_clip's


def to_transformers(recipe: Recipe, state: State) -> tuple[dict[str, Any], State]:
    """config.json's content and the weights. Raises ConfigError for an architecture that CLIPModel does not have."""
    own = normalised(recipe.architecture)
    _check_plain(recipe, own)
    vision, text = own["vision_cfg"], own["text_cfg"]
    shared = {"hidden_act": "quick_gelu" if own["quick_gelu"] else "gelu", "layer_norm_eps": EPSILON}
    image = _tower(vision, vision["width"] // vision["head_width"]) | shared
    words = _tower(text, text["heads"]) | shared
    config = {
        "model_type": "clip",
        "projection_dim": own["embed_dim"],
        "vision_config": image | {"image_size": recipe.pixels.image_size, "patch_size": vision["patch_size"]},
        "text_config": words
        | {"vocab_size": text["vocab_size"], "max_position_embeddings": text["context_length"]}
        | {"bos_token_id": START, "eos_token_id": END},
    }
    return config, renamed({name.removeprefix("text."): value for name, value in state.items()})


def to_open_clip(recipe: Recipe, state: State) -> tuple[dict[str, Any], State]:
    """model_cfg and the weights. Raises ConfigError for models of transformers that open_clip does not have."""
    own = recipe.architecture
    if own["model_type"] != "clip":
        raise ConfigError(f"export: open_clip has no form of transformers' {own['model_type']}; use to=transformers")
    vision, text = own["vision_config"], own["text_config"]
    acts, epsilons = ({part[key] for part in (vision, text)} for key in ("hidden_act", "layer_norm_eps"))
    if len(acts) > 1 or not acts <= ACTIVATIONS.keys() or epsilons != {EPSILON}:
        raise ConfigError(
            f"export: open_clip has no form of this model (hidden_act {sorted(acts)}, layer_norm_eps {epsilons}); use "
            "to=transformers"
        )
    config = {
        "embed_dim": own["projection_dim"],
        "quick_gelu": ACTIVATIONS[acts.pop()],
        "vision_cfg": _sizes(vision)
        | {"head_width": vision["hidden_size"] // vision["num_attention_heads"]}
        | {"image_size": vision["image_size"], "patch_size": vision["patch_size"]},
        "text_cfg": _sizes(text)
        | {"heads": text["num_attention_heads"], "vocab_size": text["vocab_size"]}
        | {"context_length": text["max_position_embeddings"]},
    }
    return config, _named_back(state)


def _check_plain(recipe: Recipe, own: dict[str, Any]) -> None:
    vision, text = own["vision_cfg"], own["text_cfg"]
    plain = {
        "embed_dim": own["embed_dim"],
        "quick_gelu": own["quick_gelu"],
        "vision_cfg": {key: vision[key] for key in VISION_SIZES if isinstance(vision.get(key), int | float)},
        "text_cfg": {key: text[key] for key in TEXT_SIZES if key in text},
    }
    beyond = differences(own, normalised(plain), FREE | {"image_size"})
    if recipe.tokenizer:
        beyond["tokenizer"] = (recipe.tokenizer, None)
    if beyond:
        found = ", ".join(f"{key}={given!r}" for key, (given, _) in list(beyond.items())[:3])
        raise ConfigError(
            f"export: transformers' CLIPModel has no form of {recipe.name} ({found}); use to=open_clip, or keep the "
            "checkpoint"
        )


def _tower(section: dict[str, Any], heads: int) -> dict[str, Any]:
    return {
        "hidden_size": section["width"],
        "num_hidden_layers": section["layers"],
        "num_attention_heads": heads,
        "intermediate_size": int(section["width"] * section["mlp_ratio"]),
    }


def _sizes(section: dict[str, Any]) -> dict[str, Any]:
    width, wide = section["hidden_size"], section["intermediate_size"]
    ratio = wide / width
    assert math.isclose(int(width * ratio), wide), "open_clip multiplies"
    return {"width": width, "layers": section["num_hidden_layers"], "mlp_ratio": ratio}


def renamed(state: State, names: Table = NAMES, layers: Table = LAYERS, block: Table = BLOCK) -> State:
    """Weights under transformers' names."""
    found: State = {}
    for name, tensor in state.items():
        theirs = _translated(name, 0, names, layers, block)
        if "{}" in theirs:
            found |= {theirs.format(part): rows for part, rows in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            found[theirs] = tensor.T if name in TRANSPOSED else tensor
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _named_back(state: State) -> State:
    """Weights under open_clip's names; those of query, key and value as one."""
    found: State = {}
    for name, tensor in state.items():
        queries = re.sub(r"\.q_proj\.", ".{}_proj.", name)
        if re.search(r"\.[kv]_proj\.", name):
            continue
        ours = _translated(queries, 1, NAMES, LAYERS, BLOCK)
        whole = torch.cat([state[queries.format(part)] for part in "qkv"]) if queries != name else tensor
        found[ours] = (whole.T if ours in TRANSPOSED else whole).contiguous()
    return found


def _translated(name: str, source: int, names: Table, layers: Table, block: Table) -> str:
    """A weight's name in the other library's words; `source` is the column it is in."""
    for pair in layers:
        if name.startswith(pair[source]):
            number, rest = name.removeprefix(pair[source]).split(".", 1)
            return f"{pair[1 - source]}{number}.{_first(rest, block, source)}"
    return _first(name, names, source)


def _first(name: str, table: Table, source: int) -> str:
    for pair in table:
        if name == pair[source] or (name.startswith(pair[source]) and pair[source][-1] in "._"):
            return pair[1 - source] + name.removeprefix(pair[source])
    raise ConfigError(f"export: the weight '{name}' has no name in the other library")
