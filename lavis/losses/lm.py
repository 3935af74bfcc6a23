"""Language-modelling loss of answers (ALBEF, arXiv 2107.07651, section 3.3 and appendix; BLIP, arXiv 2201.12086)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

IGNORE = -100  # the label that torch's cross_entropy skips by default
SMOOTHING = 0.1


def lm_labels(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Token ids (A, L) with padding replaced by IGNORE."""
    return tokens.masked_fill(~mask.bool(), IGNORE)


def sequence_losses(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None = None, alpha: float = 0.0
) -> torch.Tensor:
    """Label-smoothed cross-entropy of each next token, summed over a sequence, (A,).

    Args:
        logits: (A, L, V). Position t predicts token t+1; the last position is unused.
        labels: (A, L), IGNORE on padding. The first token is given, not predicted.
        teacher: (A, L, V) logits of the momentum decoder, without gradient. The loss of each token is then
            (1−alpha)·CE + alpha·CE(softmax(teacher)); only the first part is smoothed.
    """
    scores, wanted = logits[:, :-1], labels[:, 1:]
    flat = F.cross_entropy(
        scores.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE, label_smoothing=SMOOTHING, reduction="none"
    )
    plain = flat.view(wanted.shape).sum(dim=1)
    if teacher is None:
        return plain
    shares = F.softmax(teacher[:, :-1].detach(), dim=-1)
    soft = -(F.log_softmax(scores, dim=-1) * shares).sum(dim=-1)
    return (1 - alpha) * plain + alpha * (soft * (wanted != IGNORE)).sum(dim=1)


def weighted_lm_loss(losses: torch.Tensor, weights: torch.Tensor, questions: int) -> torch.Tensor:
    """Σ weight·loss over the answers, both (A,), divided by the number of questions."""
    return (weights * losses).sum() / questions
