"""Reading weights, and fitting those of open_clip's older layouts to its models."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

from lavis.common.checkpoint import load_file, weights_of
from lavis.common.errors import CheckpointError, MissingFile
from lavis.hub.places import INDEX, listed_in

log = logging.getLogger(__name__)
State = dict[str, torch.Tensor]
POSITIONS = ("visual.positional_embedding", "positional_embedding", "text.positional_embedding")
NUMBERS = ("logit_scale", "logit_bias")
MOST_RESAMPLING = 16  # times as many positions, or as few: four times the side of an image


def read_weights(path: Path) -> State:
    """The state dict in a file, or in all the files that an index lists. Raises CheckpointError, MissingFile."""
    if not path.name.endswith(INDEX):
        return weights_of(load_file(path), path)
    state: State = {}
    for name in listed_in(path):
        if not (path.parent / name).is_file():
            raise MissingFile(f"{path} lists {name}, which is not in its folder")
        state |= weights_of(load_file(path.parent / name), path.parent / name)
    return state


def fitted(clip: Any, state: State, path: Path) -> State:
    """Old and foreign layouts in that of open_clip's model `clip`, position tables resampled to its length.

    What open_clip's own loader does, except that a key that is missing stays missing. Raises CheckpointError for a
    position table of quite another length.
    """
    state = convert_state_dict(clip, dict(state))
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in NUMBERS:
        own, given = getattr(clip, name, None), state.get(name)
        if own is not None and given is not None and given.numel() == own.numel():
            state[name] = given.reshape(own.shape)
    known = clip.state_dict()  # transformers' text towers no longer store their positions' numbers
    state = {name: value for name, value in state.items() if name in known or name.rsplit(".")[-1] != "position_ids"}
    before = {name: len(state[name]) for name in POSITIONS if name in state and state[name].ndim}
    for name, count in before.items():
        if name in known:
            refuse_far_positions(name, count, len(known[name]), path)
    with contextlib.suppress(RuntimeError, AssertionError, AttributeError):
        resize_pos_embed(state, clip)
        resize_text_pos_embed(state, clip)
    for name, count in before.items():
        report_resampling([name], count, len(state[name]), path)
    return state


def refuse_far_positions(name: str, before: int, after: int, path: object) -> None:
    """Raise CheckpointError for a table of quite another length than the model's; resampling it could take minutes."""
    if max(before, after) > MOST_RESAMPLING * min(before, after):
        raise CheckpointError(
            f"checkpoint {path}: {name} has {before} positions and the model {after}: too far apart to be "
            "resampled; is the architecture the right one?"
        )


def report_resampling(names: Sequence[str], before: int, after: int, path: object) -> None:
    """Log that tables were resampled, in one line; nothing if their lengths are equal."""
    if before != after:
        text = "%s: %s resampled from %d to %d positions: the model takes other sizes"
        log.warning(text, path, ", ".join(names) + (" is" if len(names) == 1 else " are"), before, after)


def embedding_of(clip: Any) -> Any:
    """The token embedding (nn.Embedding) of an open_clip model's text tower."""
    text = clip if hasattr(clip, "token_embedding") else clip.text
    return text.token_embedding if hasattr(text, "token_embedding") else text.transformer.get_input_embeddings()
