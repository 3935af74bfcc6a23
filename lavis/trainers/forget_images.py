"""The forget images of a run: whose they are, and what else shows what can be seen in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from lavis.common.transfer import to_device


class ForgetImages:
    """Facts about the forget set's images, in the order of its rows.

    Args:
        entries: the annotation entries; empty if unknown: then all are of whole identities, without descriptions.
        whole: identities of whom everything is to be forgotten.
        embed: unit rows (n, D) of captions by the original.
    """

    def __init__(
        self,
        entries: Sequence[Any],
        whole: Collection[str],
        embed: Callable[[list[str]], torch.Tensor],
        device: torch.device,
    ) -> None:
        people = [str(entry.extra.get("identity_id", entry.extra.get("person"))) for entry in entries]
        flags = torch.tensor([float(who in whole) for who in people])
        self._whole = to_device(flags, device) if people else None
        captions = [entry.extra.get("generic_caption") for entry in entries]
        self._described = embed(captions) if captions and all(captions) else None

    def whole(self, rows: torch.Tensor) -> torch.Tensor:
        """1 for images of whole identities, else 0, (B,); rows (B,): numbers of forget images."""
        if self._whole is None:
            return torch.ones_like(rows, dtype=torch.float32)
        return self._whole.index_select(0, rows)

    def target(self, rows: torch.Tensor, captions: torch.Tensor, images: torch.Tensor, sharp: float) -> torch.Tensor:
        """Unit rows (B, D): means of retained images (B_r, D), those counting more whose captions (B_r, D) are nearer.

        Nearer to the description of forget image `rows[i]`; without descriptions all count the same.
        """
        if self._described is None:
            return F.normalize(images.mean(0), dim=-1).expand(len(rows), -1)
        near = sharp * self._described.index_select(0, rows) @ captions.T
        return F.normalize(near.softmax(dim=1) @ images, dim=-1)
