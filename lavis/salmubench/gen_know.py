"""GenKnow: zero-shot accuracy on ImageNet-1k (the benchmark's definition), and on a data set's own classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import embed_captions
from lavis.evaluation.context import Context, PairContext
from lavis.evaluation.metric import DISTANCE, HEADLINE, UP, Column, NotMeasured
from lavis.evaluation.zero_shot import class_features, top1
from lavis.images.imagenet import ImageNet
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, ten_column

KEY = PREFIX + "gen_know"


@registry.register_metric("gen_know")
class GenKnow(SalmuMetric):
    """Accuracy on the data set's own classes (zero_shot_classes.json): of each kind, and the mean over kinds."""

    columns = (
        ten_column(
            *("gen_know", "GenKnow", "zero-shot accuracy on the data set's own classes", 70),
            direction=UP,
            uses=(HEADLINE,),
        ),
        Column(KEY + "_shape", "GenKnow shape", "zero-shot accuracy of shapes", groups=(), uses=(DISTANCE,)),
        Column(KEY + "_colour", "GenKnow colour", "zero-shot accuracy of colours", groups=(), uses=(DISTANCE,)),
    )
    order = 106

    def values(self, data: BenchmarkData) -> Numbers:
        entries, known = data.labelled()
        if not entries:
            raise NotMeasured("the data set has no classes of its own; run.imagenet names ImageNet's images")
        part, labels = data.part("zero-shot", entries), known["images"]
        accuracies = {}
        for kind, options in known["classes"].items():
            prompts = [(text, number) for number, name in enumerate(options) for text in known["prompts"][kind][name]]
            rows = class_features(data.texts([t for t, _ in prompts], kind), [number for _, number in prompts])
            places = {name: number for number, name in enumerate(options)}
            own = [places[labels[entry.image][kind]] for entry in part.entries]
            accuracies[f"gen_know_{kind}"] = top1(part.image, rows, own, "GenKnow")
        return {"gen_know": float(np.mean(list(accuracies.values()))), **accuracies}

    @property
    def keys(self) -> list[str]:
        return [KEY]  # the kinds depend on the data set


@registry.register_metric("imagenet")
class ImageNetAccuracy(SalmuMetric):
    """SALMUBench 2.1: top-1 accuracy on the images of run.imagenet among all 1,000 classes."""

    columns = (
        ten_column(
            *("imagenet", "GenKnow", "ImageNet-1k zero-shot top-1 accuracy", 71),
            direction=UP,
            uses=(HEADLINE,),
            public=("utility", "2.1_GenKnow", "ImageNet1k_Accuracy"),
            published=("0.633", "0.638"),
            instead_of=KEY,
        ),
    )
    order = 107

    def __call__(self, context: Context) -> Numbers:
        """Of any data set: only its image processor is used."""
        images = context.shared(open_imagenet)
        assert isinstance(context, PairContext)
        rows = context.bank.images_from(images, "ImageNet")
        return {f"{PREFIX}imagenet": top1(rows, classifier(context.bank), images.labels, "GenKnow")}

    def images(self, context: Context) -> Sequence[Sequence[Entry]]:
        if context.run.imagenet:
            context.shared(open_imagenet)  # a wrong path is reported before any work
        return ()


def open_imagenet(context: Context) -> ImageNet:
    """The images of run.imagenet. Raises NotMeasured, MissingFile, DataError."""
    run = context.run
    if not run.imagenet:
        raise NotMeasured("run.imagenet does not name ImageNet-1k's validation images")
    return ImageNet(run.imagenet, context.builder.processors("eval")[0], run.num_workers)


def classifier(bank: FeatureBank) -> torch.Tensor:
    """Class rows (1000, D): the mean of each class's unit prompt rows (CLIP, arXiv 2103.00020, section 3.1.4).

    Class names and the 80 templates are open_clip's. The bank stores the means and not the prompts.
    """
    from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    keys = [bank.key("imagenet class", name, number) for number, name in enumerate(IMAGENET_CLASSNAMES)]

    def embed(missing: list[int]) -> torch.Tensor:
        prompts = [form(IMAGENET_CLASSNAMES[number]) for number in missing for form in OPENAI_IMAGENET_TEMPLATES]
        owner = [place for place in range(len(missing)) for _ in OPENAI_IMAGENET_TEMPLATES]
        rows = embed_captions(bank.model, prompts, bank.run.batch_size_eval, bank.device, name="ImageNet")
        return torch.from_numpy(class_features(rows, owner)).float()

    return bank.rows(keys, embed)
