"""A learning rate of 0 changes no bit of a model: neither its weights nor the statistics of its normalisations.

Architectures with batch normalisation, dropped patches, paths and attention, for every method.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.models.clip import ClipModel
from lavis.models.two_towers import TwoTowers
from lavis.runners.loop import TrainingLoop
from lavis.settings.parts_schema import LoraConfig
from lavis.settings.schema import ModelConfig, RunConfig
from lavis.trainers.base import Batch
from lavis.trainers.parts import limit
from lavis.trainers.teacher import FrozenModel, Teacher, Towers
from tests.hub.folders import PLAIN, SIGLIP, VIT, open_clip_folder, perturbed, transformers_folder
from tests.reduced import make_timm_small, reduced_config
from tests.trainers.toy import FixedCaptions

CPU = torch.device("cpu")
RETAIN = {"retain", "consist", "uni", "multi"}  # terms that compare with the teacher on what is retained
METHODS = [
    name
    for name in registry.names("trainer")
    if not registry.get_trainer_class(name).makes_model and registry.get_trainer_class(name).runner != "once"
]
STARTING_THERE = [name for name in METHODS if not registry.get_trainer_class(name).redraws]
RESNET = PLAIN | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}}
DROPPED = PLAIN | {"vision_cfg": VIT | {"patch_dropout": 0.5}}
PATHS = {"timm_drop": 0.5, "timm_drop_path": 0.5}


def convnext(folder: Path) -> dict[str, Any]:
    content = reduced_config("convnext_base", folder)
    return content | {"text_cfg": PLAIN["text_cfg"], "vision_cfg": content["vision_cfg"] | PATHS}


def roberta(folder: Path) -> dict[str, Any]:
    """Its text tower has the dropout of its kind, 0.1."""
    return reduced_config("roberta-ViT-B-32", folder)


FAMILIES = {
    "ViT with dropped patches": lambda folder: DROPPED,
    "RN50": lambda folder: RESNET,
    "ConvNeXt with dropped paths": convnext,
    "RoBERTa": roberta,
    "SigLIP": lambda folder: SIGLIP,
    "CoCa": lambda folder: reduced_config("coca_ViT-B-32", folder),
}


@pytest.fixture(scope="module", params=[*FAMILIES, "transformers"])
def model(request, tmp_path_factory) -> TwoTowers:
    folder = tmp_path_factory.mktemp("family")
    if request.param == "transformers":
        source = transformers_folder(folder / "model", "clip")
        made = ClipModel.from_config(ModelConfig(model_type=source, grad_checkpointing=True))
        for part in made.modules():
            if isinstance(part, transformers.models.clip.modeling_clip.CLIPAttention):
                part.dropout = 0.5
        return made
    with pytest.MonkeyPatch.context() as patch:
        make_timm_small(patch)
        source = open_clip_folder(folder / "model", FAMILIES[request.param](folder))
        made = ClipModel.from_config(ModelConfig(model_type=source, args={"pretrained_text": False}))
    perturbed(made)
    return made


def side(model: TwoTowers, seed: int) -> dict[str, Any]:
    draws = torch.Generator().manual_seed(seed)
    side = model.recipe.pixels.image_size
    images = torch.randint(0, 256, (4, 3, side, side), dtype=torch.uint8, generator=draws)
    captions = [f"{seed} caption {row}" for row in range(4)]
    return model.prepare({"images": images, "captions": captions})


@pytest.mark.parametrize("method", STARTING_THERE)
def test_a_learning_rate_of_0_changes_nothing(model: TwoTowers, method: str) -> None:
    student = copy.deepcopy(model)
    trainer = registry.get_trainer_class(method)(method, student, RunConfig(), CPU)
    trainer.fiction = FixedCaptions()
    if trainer.needs_teacher:
        trainer.attach_teacher(Teacher(FrozenModel(student), {"df": Towers(), "dr": Towers()}))
    loop = TrainingLoop(trainer, lambda epoch, step: 0.0)
    trainer.begin()
    batch = Batch({name: side(model, number) for number, name in enumerate(("df", "dr"))}, 0, 0, 0)
    _, terms = trainer.loss(batch)
    loop.step(iter([batch]), 0, 0)
    before, after = model.state_dict(), student.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    if trainer.needs_teacher and method not in ("cliperase", "shuffled"):
        assert {name: term.item() for name, term in terms.items() if name in RETAIN and abs(term) > 1e-6} == {}


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("method", METHODS)
def test_only_what_is_named_is_trained(tmp_path_factory, method: str, rank: int | None) -> None:
    """The MLPs of the text tower, which every method trains."""
    student = ClipModel.from_config(ModelConfig(model_type=open_clip_folder(tmp_path_factory.mktemp("plain"), PLAIN)))
    run = RunConfig(trainable=["transformer.*.mlp.*.weight"], lora=LoraConfig(rank=rank))
    try:
        trainer = registry.get_trainer_class(method)(method, student, run, CPU)
    except ConfigError as error:
        pytest.skip(str(error))
    trainer.fiction = FixedCaptions()
    if trainer.needs_teacher:
        trainer.attach_teacher(Teacher(FrozenModel(student), {"df": Towers(), "dr": Towers()}))
    perturbed(student, seed=1)  # away from the teacher, where some methods have no gradient but what rounding leaves
    before = {name: value.clone() for name, value in student.checkpoint_state().items()}
    limit(student, run)
    loop = TrainingLoop(trainer, lambda epoch, step: 1e-2)
    trainer.begin()
    batch = Batch({name: side(student, number) for number, name in enumerate(("df", "dr"))}, 0, 0, 0)
    loop.step(iter([batch]), 0, 0)
    after = student.checkpoint_state()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    named = {name for name in before if name.startswith("transformer.") and ".mlp." in name and "weight" in name}
    assert moved == named
