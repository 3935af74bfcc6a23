"""Tokenizers as files: carried inside a checkpoint, and CLIP's own vocabulary in transformers' form."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import string
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, SimpleTokenizer

from lavis.common.errors import ConfigError
from lavis.hub.recipe import Recipe

Captions = list[str]
START, END = "<|startoftext|>", "<|endoftext|>"  # transformers' names of open_clip's two special tokens


@dataclass(frozen=True)
class OpenClipTokens:
    """Ids (B, L), int64, of captions by open_clip's tokenizer; with `short` cut after the longest caption.

    It needs no model, so that a loader's worker can have it. Copies share the tokenizer, with its 50,000 merges.
    """

    tokenizer: Any
    short: bool = False

    def __call__(self, captions: Captions) -> torch.Tensor:
        tokens = self.tokenizer(captions)
        return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1] if self.short else tokens

    def __deepcopy__(self, memo: Any) -> OpenClipTokens:
        return self


@dataclass(frozen=True)
class TransformersTokens:
    """The same by transformers' tokenizer, called with `options`."""

    tokenizer: Any
    options: dict[str, Any]

    def __call__(self, captions: Captions) -> torch.Tensor:
        return self.tokenizer(captions, **self.options)["input_ids"]

    def __deepcopy__(self, memo: Any) -> TransformersTokens:
        return self


@contextlib.contextmanager
def tokenizer_folder(recipe: Recipe) -> Iterator[str]:
    """What transformers' AutoTokenizer reads: the recipe's hub name or folder, or a folder of the files it carries."""
    if not recipe.tokenizer_files:
        yield recipe.tokenizer
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, content in recipe.tokenizer_files.items():
            (Path(folder) / Path(name).name).write_bytes(content.numpy().tobytes())
        yield folder


def carrying(recipe: Recipe, tokenizer: Any) -> Recipe:
    """The recipe with the files of its tokenizer, so that checkpoints need no other place; CLIP's own has none."""
    if not recipe.tokenizer or recipe.tokenizer_files:
        return recipe
    return dataclasses.replace(recipe, tokenizer_files=files_of(getattr(tokenizer, "tokenizer", tokenizer)))


def files_of(tokenizer: Any) -> dict[str, torch.Tensor]:
    """The files of a tokenizer that has `save_pretrained`: name -> uint8 (n,)."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        paths = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
        return {path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths}


def clip_tokenizer(context_length: int) -> Any:
    """transformers' CLIPTokenizer with the vocabulary of open_clip's own tokenizer, so that their ids agree."""
    from transformers import CLIPTokenizerFast  # type: ignore - transformers 5 keeps the name as an alias

    with tempfile.TemporaryDirectory() as folder:
        _write_clip_files(Path(folder))
        return CLIPTokenizerFast.from_pretrained(folder, model_max_length=context_length)


def _write_clip_files(folder: Path) -> None:
    """Write the vocabulary of open_clip's own tokenizer as vocab.json and merges.txt."""
    own = SimpleTokenizer()
    names = {own.sot_token_id: START, own.eot_token_id: END}
    vocabulary = {names.get(number, token): number for token, number in own.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    ranked = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in ranked)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def save_clip_tokenizer(folder: Path, context_length: int) -> None:
    """Write CLIP's tokenizer as every version of transformers reads it: with vocab.json and merges.txt."""
    clip_tokenizer(context_length).save_pretrained(folder)
    _write_clip_files(folder)


def save_tokenizer(recipe: Recipe, folder: Path, cleaning: bool = False) -> None:
    """Write a recipe's tokenizer as transformers reads it. Raises ConfigError where its files cannot be had.

    cleaning: where open_clip cleans captions before its tokenizer, the written one does so itself.
    """
    if not recipe.tokenizer:
        save_clip_tokenizer(folder, recipe.context_length or DEFAULT_CONTEXT_LENGTH)
        return
    from transformers import AutoTokenizer

    try:
        with tokenizer_folder(recipe) as source:
            tokenizer: Any = AutoTokenizer.from_pretrained(source)
            options = recipe.architecture.get("text_cfg", {}).get("tokenizer_kwargs") or {}
            if cleaning and options.get("clean") == "canonicalize":
                canonicalise(tokenizer)
            tokenizer.save_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the tokenizer of {recipe.name} ({recipe.tokenizer}) cannot be had: {error}") from error


def canonicalise(tokenizer: Any) -> None:
    """Let a fast tokenizer itself take out capitals, punctuation and doubled spaces, as SigLIP's captions need it."""
    from tokenizers import Regex, normalizers

    inner, punctuation = tokenizer.backend_tokenizer, re.escape(string.punctuation.replace("_", ""))
    steps: list[Any] = [normalizers.Replace("_", " "), normalizers.Replace(Regex(f"[{punctuation}]"), "")]
    steps += [normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    before = inner.normalizer
    inner.normalizer = normalizers.Sequence(steps if before is None else [*steps, before])


def size_of(tokenizer: Any) -> int:
    """One more than the highest id of a tokenizer of open_clip's or transformers'."""
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    return inner.vocab_size if isinstance(inner, SimpleTokenizer) else max(inner.get_vocab().values()) + 1


def token_counts(tokenizer: Any, captions: list[str]) -> list[int]:
    """How many tokens each caption has, start and end included and nothing cut off."""
    inner, clean = getattr(tokenizer, "tokenizer", tokenizer), getattr(tokenizer, "clean_fn", None) or str
    if isinstance(inner, SimpleTokenizer):
        return [len(inner.encode(caption)) + 2 for caption in captions]
    return [len(inner(clean(caption))["input_ids"]) for caption in captions]


def check_vocabulary(ids: int, rows: int, name: str) -> None:
    """Refuse a tokenizer of more ids than the model's token embedding has rows. Raises ConfigError."""
    if ids > rows:
        raise ConfigError(
            f"model: the tokenizer of {name} has {ids} ids and the model's vocabulary {rows}: they do not belong "
            "together; take the tokenizer that the model was trained with"
        )
