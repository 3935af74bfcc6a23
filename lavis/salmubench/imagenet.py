"""GenKnow on ImageNet-1k: zero-shot accuracy with open_clip's class names and prompt templates."""

from __future__ import annotations

import torch

from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import embed_captions
from lavis.embedding.feature_store import key_of
from lavis.salmubench.material import NotMeasured, Source
from lavis.salmubench.measures import Numbers
from lavis.salmubench.probes import class_features, gen_know


def imagenet(source: Source) -> Numbers:
    """imagenet: top-1 accuracy on the pictures of run.imagenet among all 1,000 classes (SPEC's GenKnow)."""
    if source.imagenet is None:
        raise NotMeasured("run.imagenet does not name ImageNet-1k's validation pictures")
    classes = classifier(source.bank)
    rows = source.bank.pictures(source.imagenet, "ImageNet")
    return {"imagenet": gen_know(rows, classes, source.imagenet.labels)}


def classifier(bank: FeatureBank) -> torch.Tensor:
    """Class rows (1000, D): the mean of each class's unit prompt rows (CLIP, arXiv 2103.00020, section 3.1.4).

    Class names and the 80 templates are open_clip's; the prompts are not kept, their means are.
    """
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    keys = [key_of("imagenet class", name, number) for number, name in enumerate(IMAGENET_CLASSNAMES)]

    def embed(missing: list[int]) -> torch.Tensor:
        prompts = [form(IMAGENET_CLASSNAMES[number]) for number in missing for form in OPENAI_IMAGENET_TEMPLATES]
        owner = [place for place in range(len(missing)) for _ in OPENAI_IMAGENET_TEMPLATES]
        rows = embed_captions(bank.model, prompts, bank.run.batch_size_eval, bank.device, name="ImageNet")
        return torch.from_numpy(class_features(rows, owner)).float()

    return bank.rows(keys, embed)
