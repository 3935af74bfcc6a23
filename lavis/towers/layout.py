"""Where the tokens of a batch of captions lie: in rows with padding, and one after another without."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layout:
    """Where the T tokens of B captions lie in rows of length L.

    inside (B, L): True where a row has a token. place (T,): each token's number in the flat rows (B · L,). ends (B,):
    each caption's last token among the T.
    """

    inside: torch.Tensor
    place: torch.Tensor
    ends: torch.Tensor
    rows: int
    length: int

    @classmethod
    def of(cls, tokens: torch.Tensor) -> Layout:
        """Of token ids (B, L), whose highest id in a row is its last token."""
        rows, length = tokens.shape
        last = tokens.argmax(dim=1)
        inside = torch.arange(length) <= last[:, None]
        return cls(inside, inside.flatten().nonzero()[:, 0], (last + 1).cumsum(0) - 1, rows, length)

    def pack(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, L, …) to (1, T, …)."""
        return rows.flatten(0, 1)[self.place][None]

    def unpack(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, T, …) to (B, L, …), zeros in the padding."""
        rows = tokens.new_zeros(self.rows * self.length, *tokens.shape[2:])
        return rows.index_copy(0, self.place, tokens[0]).unflatten(0, (self.rows, self.length))
