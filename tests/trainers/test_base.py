"""What every method inherits: the teacher, the permutation, autocast, and the refusal of wrong names."""

from __future__ import annotations

import pytest
import torch

from lavis.common.errors import ConfigError
from lavis.common.features import PairFeatures
from lavis.common.precision import amp_dtype
from lavis.settings.schema import RunConfig
from lavis.trainers.base import Batch, Student
from lavis.trainers.teacher import FrozenModel
from tests.trainers.toy import CPU, Toy, batch, trainer


def test_a_teacher_cannot_leave_eval_mode_or_learn():
    frozen = FrozenModel(Toy().train())
    frozen.train()
    frozen.train(True)
    frozen.requires_grad_(True)
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_a_teacher_is_a_copy():
    model = Toy()
    frozen = FrozenModel(model)
    with torch.no_grad():
        model.text.weight.zero_()
    assert frozen.model.text.weight.abs().sum() > 0


def test_the_permutation_follows_the_micro_batch_alone():
    again = [batch(3, 1).permutation.tolist() for _ in range(2)]
    assert again[0] == again[1] and sorted(again[0]) == [0, 1, 2, 3]
    assert len({tuple(batch(n).permutation.tolist()) for n in range(20)}) > 5


def test_vlul_decouples_from_shuffled_captions():
    """The md term compares with the teacher's similarity for permuted captions, not for the true ones."""
    subject = trainer()
    subject.model.eval()
    one = batch()
    _, terms = subject.loss(one)
    teacher = PairFeatures(*subject.teacher.rows({"df": one.sets["df"]}, 0)["df"])
    target = teacher.image @ teacher.text[one.permutation].T
    student = teacher.image @ teacher.text.T
    assert terms["md"].item() == pytest.approx(2 * (student - target).square().mean().item(), abs=1e-6)
    assert terms["uni"].item() == pytest.approx(0.0, abs=1e-10)


def test_both_sets_go_through_one_forward_pass():
    calls = []
    subject = trainer("erase")
    subject.model.register_forward_hook(lambda module, given, out: calls.append(len(given[0]["images"])))
    subject.loss(batch())
    assert calls == [8]  # four forget and four retain rows


def test_a_live_teacher_embeds_all_sets_in_one_pass_and_in_the_students_precision():
    subject, calls = trainer("vlul", amp=True, amp_dtype="bf16"), []
    subject.model.eval()
    teacher = subject.teacher.frozen.model
    for tower in (teacher.image, teacher.text):
        tower.register_forward_hook(lambda module, given, out: calls.append((len(out), out.dtype)))
    _, terms = subject.loss(batch())
    assert calls == [(8, torch.bfloat16), (8, torch.float32)]  # autocast leaves an embedding in single precision
    assert max(terms["uni"], terms["multi"]) < 1e-12


def test_dropout_repeats_for_a_micro_batch_and_differs_between_two():
    subject = trainer("delete")
    subject.model.train()
    totals = [subject.loss(Batch(batch().sets, 42, 0, n))[0].item() for n in (0, 0, 1)]
    assert totals[0] == totals[1] != totals[2]


def test_the_temperature_is_frozen_where_no_term_reaches_it():
    assert not trainer("vlul").model.logit_scale.requires_grad
    assert trainer("original").model.logit_scale.requires_grad


def test_weights_default_to_one_and_multiply():
    plain, heavy = trainer("delete"), trainer("delete", weights={"forget": 5.0})
    heavy.model.load_state_dict(plain.model.state_dict())
    heavy.attach_teacher(plain.teacher)
    plain.model.eval(), heavy.model.eval()
    total, terms = plain.loss(batch())
    heavier, _ = heavy.loss(batch())
    assert heavier.item() - total.item() == pytest.approx(4 * terms["forget"].item(), rel=1e-5)


def test_wrong_weights_are_refused():
    with pytest.raises(ConfigError, match="'vlul' has no term 'x'"):
        trainer("vlul", weights={"x": 1.0})


def test_reading_a_set_that_the_method_does_not_declare_is_a_bug():
    with pytest.raises(AssertionError, match="`sets` lacks 'dr'"):
        _ = Student(trainer("neggrad"), batch()).dr


def test_half_precision_type():
    hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert amp_dtype(RunConfig(amp_dtype="auto"), CPU) is (torch.bfloat16 if hardware else None)
    assert amp_dtype(RunConfig(amp_dtype="bf16"), CPU) is torch.bfloat16
    assert amp_dtype(RunConfig(amp_dtype="fp16"), CPU) is torch.float16


def test_a_loss_that_depends_on_nothing_in_training_is_an_error():
    subject = trainer("ft")
    subject.model.requires_grad_(False)
    with pytest.raises(ConfigError, match="the loss of 'ft' does not depend on any parameter .* run.trainable"):
        subject.loss(batch())
