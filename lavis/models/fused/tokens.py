"""The tokenizer of ALBEF and BLIP: BERT's word pieces, from a local vocab.txt or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lavis.common.errors import ConfigError, MissingFile

HUB = "hf-hub:"
VOCABULARY = "vocab.txt"
DECODE, ENCODE = "[DEC]", "[ENC]"


@dataclass
class Tokens:
    """Ids (B, L), int64, and their mask (B, L), true on tokens and false on padding."""

    ids: torch.Tensor
    mask: torch.Tensor


class Tokenizer:
    """Word pieces between [CLS] and [SEP].

    Args:
        source: a folder with vocab.txt, that file, or `hf-hub:<name>`.
        vocab_size: rows of the model's word table; the tokenizer must have as many.
        extra: further special tokens, numbered after the vocabulary in this order.

    Raises MissingFile if there is no vocabulary, ConfigError if its size is not the model's.
    """

    def __init__(self, source: str, vocab_size: int, extra: tuple[str, ...] = ()) -> None:
        self.pieces = _load(source)
        if extra:
            self.pieces.add_tokens(list(extra), special_tokens=True)
        if len(self.pieces) != vocab_size:
            raise ConfigError(
                f"model.tokenizer: {source} has {len(self.pieces)} tokens, but model.vocab_size is {vocab_size}; "
                "set the tokenizer that the weights were trained with, or its size"
            )
        self.pad, self.start, self.end = (self.number(token) for token in ("[PAD]", "[CLS]", "[SEP]"))

    def number(self, token: str) -> int:
        return int(self.pieces.convert_tokens_to_ids(token))

    def __call__(self, texts: list[str], max_length: int | None) -> Tokens:
        """Padded to the longest; cut after `max_length` tokens, [CLS] and [SEP] included (None: never cut)."""
        cut = {"truncation": max_length is not None, "max_length": max_length}
        pieces = self.pieces(list(texts), padding="longest", return_tensors="pt", **cut)
        return Tokens(pieces["input_ids"], pieces["attention_mask"].bool())

    def decode(self, ids: torch.Tensor) -> list[str]:
        """Texts of id rows (B, L), without special tokens."""
        return [str(text).strip() for text in self.pieces.batch_decode(ids.tolist(), skip_special_tokens=True)]


def _load(source: str) -> Any:
    from transformers import BertTokenizer

    path = _from_hub(source) if source.startswith(HUB) else Path(source)
    path = path / VOCABULARY if path.is_dir() else path
    if not path.is_file():
        raise MissingFile(
            f"model.tokenizer: no file {path}; give a folder with {VOCABULARY}, that file, or {HUB}<name> "
            f"(the public models use {HUB}bert-base-uncased)"
        )
    return BertTokenizer.from_pretrained(path.parent) if path.name == VOCABULARY else BertTokenizer(str(path))


def _from_hub(source: str) -> Path:
    """Download only the vocabulary: for a name it cannot find, transformers would make an empty tokenizer."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import HfHubHTTPError

    try:
        return Path(hf_hub_download(source.removeprefix(HUB), VOCABULARY))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MissingFile(
            f"model.tokenizer: {source} is not cached here and could not be fetched ({reason}); "
            f"give a folder with its {VOCABULARY} instead"
        ) from error
