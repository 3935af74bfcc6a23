"""Answers questions with a fused encoder and an answer decoder (ALBEF, arXiv 2107.07651, section 5).

The decoder is trained on the weighted answers of each question, and ranks a list of answers or generates them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch

from lavis.common.errors import ConfigError, DataError
from lavis.losses.lm import lm_labels, sequence_losses, weighted_lm_loss
from lavis.models.base import Inputs, TrainingStep
from lavis.models.fused.base import FusedModel
from lavis.models.fused.blip_generate import beam_search
from lavis.models.fused.config import VqaConfig
from lavis.models.fused.text import TextDecoder, TextSizes
from lavis.models.fused.tokens import Tokens


class Ranking(NamedTuple):
    """Candidates for B questions: number in the answer list, probability of the first token, score; each (B, k)."""

    candidates: torch.Tensor
    first: torch.Tensor
    scores: torch.Tensor


class FusedVqa(FusedModel):
    """Subclasses set the token that answers start with."""

    config_class = VqaConfig
    fresh = frozenset({"text_decoder"})
    answer_start: ClassVar[str] = "[CLS]"
    text_decoder: TextDecoder
    _known: tuple[list[str], Tokens] | None = None

    def __init__(self, config: VqaConfig) -> None:
        super().__init__(config)
        self.start = self.tokenizer.number(self.answer_start)
        sizes = replace(TextSizes.of(config), depth=config.decoder_depth, context=config.text_width)
        self.text_decoder = TextDecoder(sizes)

    def prepare(self, rows: Inputs) -> Inputs:
        """Questions as tokens; "answers" and "answer_weights" (a list per question), if given, as tensors.

        These are "answer_tokens" and "answer_mask" (A, L), "answer_weights" (A,), and "answer_counts" (B,), the number
        of answers per question. Raises DataError for questions without answers or weights.
        """
        inputs = super().prepare(rows)
        answers, weights = inputs.pop("answers", None), inputs.pop("answer_weights", None)
        if answers is None or weights is None:
            return inputs
        if any(not own or len(own) != len(shares) for own, shares in zip(answers, weights, strict=True)):
            raise DataError("every question needs at least one answer, and as many answer_weights as answers")
        found = self.answer_tokens([text for own in answers for text in own])
        flat = torch.tensor([float(share) for shares in weights for share in shares])
        counts = torch.tensor([len(own) for own in answers])
        own = {"answer_tokens": found.ids, "answer_mask": found.mask, "answer_weights": flat, "answer_counts": counts}
        return {**inputs, **own}

    def answer_tokens(self, answers: list[str]) -> Tokens:
        """Start token, pieces, [SEP]; never truncated."""
        tokens = self.tokenizer(answers, None)
        tokens.ids[:, 0] = self.start
        return tokens

    def question_states(self, inputs: Inputs) -> torch.Tensor:
        """All fused states (B, L, H) of the question, for the decoder."""
        return self.text_encoder(inputs["tokens"], inputs["mask"], self.image_states(inputs["images"]))

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """The term "lm": the weighted sum of the answers' token losses, divided by the number of questions."""
        return {"lm": self.answer_loss(inputs, None, 0.0)}

    def answer_loss(self, inputs: Inputs, teacher: torch.Tensor | None, share: float) -> torch.Tensor:
        """The loss with a `share` of soft targets from the `teacher`'s logits (A, L, V)."""
        logits = self.answer_logits(self.text_decoder, self.question_states(inputs), inputs)
        labels = lm_labels(inputs["answer_tokens"], inputs["answer_mask"])
        losses = sequence_losses(logits, labels, teacher, share)
        return weighted_lm_loss(losses, inputs["answer_weights"], len(inputs["tokens"]))

    def answer_logits(self, decoder: TextDecoder, states: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Logits (A, L, V); each answer reads the states (B, L, H) and the mask of its own question."""
        counts = inputs["answer_counts"]
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        return decoder(inputs["answer_tokens"], inputs["answer_mask"], states[rows], inputs["mask"][rows])

    @torch.no_grad()
    def rank(self, inputs: Inputs, answers: list[str], k: int) -> Ranking:
        """The `k` answers of a list with the likeliest first tokens, each scored by minus the sum of its token losses.

        Raises ConfigError for an empty list.
        """
        if not answers or k < 1:
            raise ConfigError(f"ranking needs a list of answers and k ≥ 1, found {len(answers)} answers and k = {k}")
        states, mask = self.question_states(inputs), inputs["mask"]
        found = self._listed(answers)
        ids, ends = found.ids.to(states.device), found.mask.to(states.device)
        start = torch.full((len(states), 1), self.start, device=states.device)
        logits = self.text_decoder(start, torch.ones_like(start), states, mask)[:, 0]
        first, candidates = logits.softmax(dim=-1)[:, ids[:, 1]].topk(min(k, len(answers)), dim=1)
        scores = []
        for own, row, ask in zip(candidates, states, mask, strict=True):
            k = len(own)
            logits = self.text_decoder(ids[own], ends[own], row.expand(k, -1, -1), ask.expand(k, -1))
            scores.append(-sequence_losses(logits, lm_labels(ids[own], ends[own])))
        return Ranking(candidates, first, torch.stack(scores))

    def _listed(self, answers: list[str]) -> Tokens:
        """Tokens of an answer list, cached for the last list because a split is ranked with one list."""
        if self._known is None or self._known[0] != answers:
            self._known = list(answers), self.answer_tokens(answers)
        return self._known[1]

    def rank_answers(self, inputs: Inputs, answers: list[str], k: int) -> torch.Tensor:
        """The number of the best answer in the list, (B,)."""
        found = self.rank(inputs, answers, k)
        return found.candidates.gather(1, found.scores.argmax(dim=1, keepdim=True)).squeeze(1)

    @torch.no_grad()
    def confidence(self, inputs: Inputs) -> torch.Tensor:
        """Log-likelihood of the given answers, (B,): their weighted mean of minus the (smoothed) training loss."""
        logits = self.answer_logits(self.text_decoder, self.question_states(inputs), inputs)
        losses = sequence_losses(logits, lm_labels(inputs["answer_tokens"], inputs["answer_mask"]))
        counts, weights = inputs["answer_counts"], inputs["answer_weights"]
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        sums = losses.new_zeros(2, len(counts)).index_add_(1, rows, torch.stack([-weights * losses, weights]))
        return sums[0] / sums[1]

    def generation_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Which question positions (B, L) generation attends to."""
        return mask

    @torch.no_grad()
    def generate(self, inputs: Inputs, num_beams: int = 3, max_length: int = 10) -> list[str]:
        """Free-form answers, one per question; `max_length` counts tokens, including the start token."""
        states = self.question_states(inputs).repeat_interleave(num_beams, dim=0)
        mask = self.generation_mask(inputs["mask"]).repeat_interleave(num_beams, dim=0)

        def next_logits(ids: torch.Tensor) -> torch.Tensor:
            return self.text_decoder(ids, torch.ones_like(ids), states, mask)[:, -1]

        found = beam_search(
            next_logits,
            len(inputs["tokens"]),
            start=self.start,
            end=self.tokenizer.end,
            beams=num_beams,
            max_length=max_length,
            device=states.device,
        )
        return [self.tokenizer.decode(ids[None])[0] for ids in found]
