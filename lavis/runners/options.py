"""Applies run.select and run.anchor to a method: what both need of the original is computed before the first step.

Gradients are those of the backbone's own training objective, in single precision and evaluation mode, on a draw of
pairs that depends on the seed alone, in batches as large as the method's. Process 0 computes them and gives them to the
others, so that any number of processes trains the same weights.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.logger import get_logger
from lavis.common.memory import release_memory
from lavis.common.precision import attention
from lavis.common.seed import derived_seed
from lavis.common.transfer import move
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import eval_loader
from lavis.datasets.mapped import picked
from lavis.datasets.pairs import PairDataset
from lavis.datasets.partition import Partition
from lavis.models.base import BaseModel, TrainingStep
from lavis.settings.parts_schema import SALUN, SLUG
from lavis.settings.schema import RunConfig
from lavis.trainers.anchor import Anchor, fisher_information
from lavis.trainers.base import BaseTrainer
from lavis.trainers.batch import Batch
from lavis.trainers.saliency import Gradients, Held, mean_gradient, salient
from lavis.trainers.single_layer import chosen_layer, layer_scores, pareto_front

Batches = Iterable[tuple[int, Gradients]]
NAME = "gradients"
EMBEDDINGS = {"positional_embedding", "class_embedding", "pos_embed", "cls_token"}  # where they are bare parameters
FORGET, RETAIN, FISHER = "df", "dr", "fisher"  # the samples: of Df, of Dr, and of Dr for run.anchor


def samples(
    run: RunConfig, parts: Partition, build: Callable[[Sequence[Entry]], PairDataset]
) -> dict[str, PairDataset]:
    """The data sets, made by `build`, on which gradients are needed: seeded draws, at most as large as `run` says."""
    wanted: dict[str, tuple[Sequence[Entry], int | None]] = {}
    if run.select.rule in (SALUN, SLUG):
        wanted[FORGET] = parts.df, run.select.rows
    if run.select.rule == SLUG:
        wanted[RETAIN] = parts.dr, run.select.rows
    if "ewc" in run.anchor.weights:
        wanted[FISHER] = parts.dr, run.anchor.rows
    return {name: build(picked(rows, _draw(len(rows), most, run, name))) for name, (rows, most) in wanted.items()}


def _draw(n: int, most: int | None, run: RunConfig, name: str) -> np.ndarray:
    """At most `most` of the numbers 0 to n-1, in random order."""
    return np.random.default_rng(derived_seed(run.draw_seed, NAME, name)).permutation(n)[:most]


def apply_options(trainer: BaseTrainer) -> dict[str, torch.Tensor]:
    """Set what run.select and run.anchor ask for, on a model with the original's weights.

    Returns what has to be the same after an interruption, by name; a checkpoint may overwrite it. Raises ConfigError
    where Df has no gradient.
    """
    run, measured = trainer.run, dict[str, torch.Tensor]()
    if run.select.rule == SLUG:
        _train_one_layer(trainer)
    if run.select.rule == SALUN:
        masks = _masks(trainer)
        trainer.held = Held(trained(trainer.model), masks)
        measured |= {f"mask.{name}": mask for name, mask in masks.items()}
    if run.anchor.weights:
        fisher = _fisher(trainer) if "ewc" in run.anchor.weights else {}
        trainer.anchor = Anchor(run.anchor.weights, trained(trainer.model), fisher)
        measured |= {f"fisher.{name}": value for name, value in fisher.items()}
    trainer.samples = {}
    return measured


def trained(model: BaseModel) -> dict[str, nn.Parameter]:
    """The parameters in training by their public names."""
    return {name: parameter for name, parameter in model.public_parameters().items() if parameter.requires_grad}


def layers(model: BaseModel) -> dict[str, nn.Parameter]:
    """The matrices in training by their public names, but for embeddings of tokens, positions and classes."""
    tables = {id(p) for part in model.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
    return {
        name: parameter
        for name, parameter in trained(model).items()
        if parameter.ndim >= 2 and id(parameter) not in tables and name.rsplit(".", 1)[-1] not in EMBEDDINGS
    }


def _train_one_layer(trainer: BaseTrainer) -> None:
    parameters, candidates = trained(trainer.model), layers(trainer.model)
    if not candidates:
        raise ConfigError(
            f"run.select.rule=slug: '{trainer.method}' with run.trainable={trainer.run.trainable} trains no layer but "
            "embeddings, which are not chosen from; name layers in run.trainable, or set run.select.rule=all"
        )
    forget, retain = (_computed(trainer, name, mean_gradient) for name in (FORGET, RETAIN))
    scores = layer_scores(candidates, forget, retain)
    _need(scores)
    front = pareto_front(scores)
    chosen = chosen_layer(front)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name == chosen)
    trainer.sources["layer chosen by run.select"] = chosen
    shown = ", ".join(f"{name} ({one.importance:.3g}, {one.alignment:.3f})" for name, one in front.items())
    get_logger().info(
        "run.select=slug: of %d layers %s alone is trained; the front, with importance and alignment: %s",
        *(len(scores), chosen, shown),
    )


def _masks(trainer: BaseTrainer) -> dict[str, torch.Tensor]:
    gradients = _computed(trainer, FORGET, mean_gradient)
    masks = salient(gradients, trainer.run.select.share)
    count, every = (sum(int(part(mask)) for mask in masks.values()) for part in (torch.sum, torch.numel))
    some = sum(int(gradient.count_nonzero()) for gradient in gradients.values())
    _need(count)
    get_logger().info(
        "run.select=salun: %d of %d numbers are trained; %d have a gradient on %d pairs of Df",
        *(count, every, some, len(trainer.samples[FORGET])),
    )
    return masks


def _fisher(trainer: BaseTrainer) -> Gradients:
    fisher = _computed(trainer, FISHER, fisher_information)
    total, pairs = sum(float(value.double().sum()) for value in fisher.values()), len(trainer.samples[FISHER])
    get_logger().info("run.anchor: Fisher information on %d pairs of Dr, in all %.3g", pairs, total)
    return fisher


def _need(found: object) -> None:
    if not found:
        raise ConfigError(
            "run.select: the original objective has no gradient on Df in what would be trained. A contrastive "
            "objective needs batches of at least two pairs: set run.batch_size_train to 4 or more"
        )


def _computed(trainer: BaseTrainer, sample: str, reduce: Callable[[Batches], Gradients]) -> Gradients:
    """What `reduce` makes of the batches' gradients on a sample, in single precision, the same on all processes."""
    found = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in trained(trainer.model).items()}

    def compute() -> None:
        with _apart(), torch.random.fork_rng():
            for name, value in reduce(_gradients(trainer, sample)).items():
                found[name].copy_(value)

    distributed.on_main(compute)
    for value in found.values():
        distributed.broadcast_rows(value, 0)
    release_memory()
    return found


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """The other processes wait meanwhile; a queue of features would gather theirs."""
    distributed.apart = True
    try:
        yield
    finally:
        distributed.apart = False


def _gradients(trainer: BaseTrainer, sample: str) -> Iterator[tuple[int, Gradients]]:
    """Rows and gradients of each batch of a sample."""
    run, device = trainer.run, trainer.device
    model = copy.deepcopy(trainer.model).eval()  # the objective moves momentum copies and queues
    parameters = trained(model)
    loader = eval_loader(trainer.samples[sample], max(1, run.batch_size_train // 2), run.num_workers)
    for batch in loader:
        number = batch.pop("chunk")
        inputs = move(model.prepare(batch), device)
        groups = Batch({sample: inputs}, run.draw_seed, 0, number, device).caption_groups(sample)
        torch.manual_seed(derived_seed(run.draw_seed, NAME, sample, number))  # ALBEF and BLIP draw negatives
        with attention(run.attention):
            terms = model.objective({**inputs, "caption_groups": groups}, TrainingStep(0, number, len(loader)))
            total = torch.stack(list(terms.values())).sum()
            found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        named = zip(parameters.items(), found, strict=True)
        yield len(batch["captions"]), {name: torch.zeros_like(p) if g is None else g for (name, p), g in named}
