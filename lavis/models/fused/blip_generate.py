"""Beam search for free-form answers, as BLIP's VQA model generates them (arXiv 2201.12086, section 4.3).

The score of a finished hypothesis is the sum of its log-probabilities divided by length ** length_penalty, where the
length counts the tokens before the end token, including the start token. A row is done when no open beam can beat the
worst of its finished hypotheses. One beam is greedy decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

NextLogits = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Hypotheses:
    """The best `beams` finished sequences of one row, best first."""

    beams: int
    length_penalty: float
    kept: list[tuple[float, torch.Tensor]] = field(default_factory=list)
    done: bool = False

    def score(self, total: float, length: int) -> float:
        return total / length**self.length_penalty

    def add(self, tokens: torch.Tensor, total: float) -> None:
        self.kept.append((self.score(total, len(tokens)), tokens))
        self.kept = sorted(self.kept, key=lambda pair: -pair[0])[: self.beams]

    def check(self, best_total: float, length: int) -> None:
        """Mark the row as done if `best_total`, the best candidate of this step, cannot win any more."""
        full = len(self.kept) == self.beams
        self.done = self.done or (full and self.kept[-1][0] >= self.score(best_total, length))


@torch.no_grad()
def beam_search(
    next_logits: NextLogits,
    rows: int,
    *,
    start: int,
    end: int,
    beams: int = 3,
    max_length: int = 10,
    length_penalty: float = 1.0,
    device: torch.device | str = "cpu",
) -> list[torch.Tensor]:
    """The best sequence of each row: int64 ids on the CPU, without start and end token.

    Args:
        next_logits: maps ids (rows·beams, L), the beams of a row in sequence, to logits (rows·beams, vocabulary).
        rows: number of sequences to search for.
        start, end: ids that begin and end every sequence.
        max_length: maximal number of tokens, including the start token.
    """
    ids = torch.full((rows, beams, 1), start, dtype=torch.long, device=device)
    totals = torch.full((rows, beams), float("-inf"), device=device)
    totals[:, 0] = 0  # all beams of a row are equal at first, so that only one of them may be expanded
    found = [Hypotheses(beams, length_penalty) for _ in range(rows)]
    while ids.shape[-1] < max_length and not all(row.done for row in found):
        totals, beam, token = _candidates(next_logits, ids, totals)
        for row in range(rows):
            _collect(found[row], ids[row], totals[row], beam[row], token[row], end)
        ids, totals = _extend(ids, totals, beam, token, end)
    for row in range(rows):
        if not found[row].done:
            for tokens, total in zip(ids[row].cpu(), totals[row].tolist(), strict=True):
                found[row].add(tokens, total)
    return [row.kept[0][1][1:] for row in found]


def _candidates(next_logits: NextLogits, ids: torch.Tensor, totals: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The 2·beams best continuations of every row, best first: totals, the beam they extend, their token."""
    rows, beams, length = ids.shape
    log_probs = next_logits(ids.reshape(rows * beams, length)).float().log_softmax(dim=-1)
    vocabulary = log_probs.shape[-1]
    sums = (totals.unsqueeze(-1) + log_probs.view(rows, beams, vocabulary)).flatten(1)
    best, place = sums.topk(2 * beams, dim=1)
    return best, place // vocabulary, place % vocabulary


def _collect(
    found: Hypotheses, ids: torch.Tensor, totals: torch.Tensor, beam: torch.Tensor, token: torch.Tensor, end: int
) -> None:
    """Store the finished sequences among a row's first `beams` candidates."""
    if found.done:
        return
    for rank in (token[: len(ids)] == end).nonzero().flatten().tolist():
        found.add(ids[beam[rank]].cpu(), float(totals[rank]))
    found.check(float(totals[0]), ids.shape[-1])


def _extend(
    ids: torch.Tensor, totals: torch.Tensor, beam: torch.Tensor, token: torch.Tensor, end: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Continue with the best `beams` unfinished candidates of each row."""
    beams = ids.shape[1]
    order = (token == end).to(torch.int8).argsort(dim=1, stable=True)[:, :beams]
    beam, token, totals = (values.gather(1, order) for values in (beam, token, totals))
    history = ids.gather(1, beam.unsqueeze(-1).expand(-1, -1, ids.shape[-1]))
    return torch.cat([history, token.unsqueeze(-1)], dim=-1), totals
