"""A soft prompt: a few vectors before every caption, learnt on other people, that make the text tower answer again.

    t(v, c) = text([start, v₁ … v_k, c₁ … c_n, end]);  v minimises the contrastive loss over other people's pairs

The text tower itself stays as it is. The vectors replace the embedding of a token that no caption has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lavis.audits.attack import Attack, NotPossible, Readings, Settings
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry
from lavis.common.seed import generator

BATCH, RATE, SCALE = 64, 0.01, 30.0


@registry.register_attack("soft_prompt")
class SoftPrompt(Attack):
    """4 vectors; in the full budget 16, too."""

    about = "4 to 16 prompt vectors learnt on other people"
    reference = "Zhou et al., arXiv 2109.01134"
    needs = ("weights", "gradients", "other people's pairs")
    why_not = "vectors before the tower cannot apply one fixed map after it"
    order = 33
    budgets = {"standard": {"lengths": [4], "steps": 60}, "full": {"lengths": [4, 8, 16], "steps": 200}}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        each = settings["steps"] * BATCH * timing.step / 2 + timing.exam(subject.material)
        return len(settings["lengths"]) * each

    def run(self, subject: Subject, settings: Settings) -> Readings:
        found = {}
        for length in settings["lengths"]:
            with Prompted(subject, length) as prompt:
                prompt.learn(settings["steps"])
                found[f"{length} vectors"] = self.ask(subject, texts=prompt.texts)
        return found


class Prompted:
    """A subject's text tower with prompt vectors; a context, at whose end the tower is as before."""

    def __init__(self, subject: Subject, length: int) -> None:
        self.subject, self.model = subject, subject.model
        weights = {id(p) for p in self.model.text_parameters(tokens_only=True)}
        found = [m for m in self.model.modules() if isinstance(m, nn.Embedding) and id(m.weight) in weights]
        if not found:
            raise NotPossible("the text tower has no token embedding of its own")
        self.embedding = found[0]
        start = self.embedding.weight.detach().float().std()
        draws = generator(subject.material.seed, "audit prompt", length)
        self.vectors = nn.Parameter(start * torch.randn(length, self.embedding.embedding_dim, generator=draws))

    def __enter__(self) -> Prompted:
        self.model.eval().requires_grad_(False)
        self.hook = self.embedding.register_forward_hook(self._insert)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()
        self.model.requires_grad_(True)

    def learn(self, steps: int) -> None:
        """Fit the vectors on other people's pairs, whose images stay as they are."""
        others = self.subject.material.others
        images = self.subject.images(others)
        optimizer = torch.optim.Adam([self.vectors], lr=RATE)
        for step in range(steps):
            draws = generator(self.subject.material.seed, "audit prompt", step)
            rows = torch.randperm(len(others), generator=draws)[:BATCH]
            texts = self._encoded([others.captions[row] for row in rows.tolist()])
            scores = SCALE * texts @ images[rows].T.to(texts)
            target = torch.arange(len(rows), device=scores.device)
            loss = F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Rows (n, D) of captions after the prompt, of unit length."""
        size = self.subject.run.batch_size_eval
        parts = [list(captions[start : start + size]) for start in range(0, len(captions), size)]
        return torch.cat([self._encoded(part).cpu() for part in parts])

    def _encoded(self, captions: list[str]) -> torch.Tensor:
        tokens = self.model.tokenize(captions)
        room = tokens.new_zeros(len(tokens), len(self.vectors))
        longer = torch.cat([tokens[:, :1], room, tokens[:, 1:]], dim=1)
        most = getattr(getattr(self.model, "clip", None), "context_length", None) or longer.shape[1]
        if longer.shape[1] > most:
            end = tokens.max()  # the end of the text has the highest id
            longer = longer[:, :most]
            longer[(longer != end).all(dim=1), -1] = end
        return F.normalize(self.model.encode_text(longer.to(self.subject.device)).float(), dim=-1)

    def _insert(self, _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        """The embedding's output (B, L, W) with the vectors in the places after the start."""
        count = len(self.vectors)
        vectors = self.vectors.to(output).expand(len(output), -1, -1)
        return torch.cat([output[:, :1], vectors, output[:, 1 + count :]], dim=1)
