"""A training step of every ALBEF model: in half precision, with recomputed activations, in micro-batches, on a GPU."""

from __future__ import annotations

import pytest
import torch

from lavis.models.base import Inputs, TrainingStep
from tests.models.references import ALBEF_SIZES, build

STEP = TrainingStep(epoch=1, step=3, steps_per_epoch=10)


def inputs_of(model, rows: int = 4) -> Inputs:
    """A batch of noise with everything that any of the models asks for."""
    generator = torch.Generator().manual_seed(0)
    shape = (rows, 2, 3, 32, 32) if model.config.arch == "albef_nlvr" else (rows, 3, 32, 32)
    batch = {
        "images": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        "captions": ["two dogs on the grass", "a red car", "one cat", "a bus in the street"][:rows],
        "image_ids": torch.arange(rows),
        "labels": torch.arange(rows) % 2,
        "answers": [["red"], ["two", "three"], ["yes"], ["no"]][:rows],
        "answer_weights": [[1.0], [0.5, 0.5], [1.0], [1.0]][:rows],
    }
    return model.prepare(batch)


def total(model, inputs: Inputs, progress: TrainingStep = STEP) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.stack(list(model.objective(inputs, progress).values())).sum()


def fresh(arch: str, **keys):
    torch.manual_seed(7)
    return build(arch, **ALBEF_SIZES[arch], **keys)


@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_half_precision_comes_near_single(arch):
    model = fresh(arch)
    inputs = inputs_of(model)
    single = total(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = total(fresh(arch), inputs)
    half.backward()
    assert half.item() == pytest.approx(single.item(), rel=0.02)


@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_every_trained_parameter_gets_a_gradient_and_no_other(arch):
    model = fresh(arch)
    total(model, inputs_of(model)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.split(".")[0].endswith("_m"), name


@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_recomputed_activations_give_the_same_gradients(arch):
    plain, lean = fresh(arch), fresh(arch, grad_checkpointing=True)
    for model in (plain, lean):
        model.train()
        total(model, inputs_of(model)).backward()
    for (name, one), two in zip(plain.named_parameters(), lean.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(two.grad, one.grad, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("arch", ["albef_vqa", "albef_nlvr", "albef_classification"])
def test_micro_batches_of_one_step_sum_to_the_batch(arch):
    """Means over rows: half the loss of each half."""
    whole, parts = fresh(arch), fresh(arch)
    inputs = inputs_of(whole)
    total(whole, inputs).backward()
    answers = [len(inputs["answer_tokens"]), 3] if arch == "albef_vqa" else [0, 0]
    for rows, texts in ((slice(0, 2), slice(0, answers[1])), (slice(2, 4), slice(answers[1], answers[0]))):
        part = {key: value[rows] for key, value in inputs.items() if key not in ("answer_tokens", "answer_mask")}
        if arch == "albef_vqa":
            part |= {key: inputs[key][texts] for key in ("answer_tokens", "answer_mask", "answer_weights")}
        (total(parts, part) / 2).backward()
    for (name, one), two in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(two.data, one.data, rtol=0, atol=0)
        if one.grad is not None:
            torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_a_step_on_the_gpu(arch):
    inputs = inputs_of(fresh(arch))
    torch.manual_seed(0)
    expected = fresh(arch).objective(inputs, STEP)
    model = fresh(arch).cuda()
    moved = {key: value.cuda() if isinstance(value, torch.Tensor) else value for key, value in inputs.items()}
    terms = model.objective(moved, STEP)
    torch.stack(list(terms.values())).sum().backward()
    assert all(value.is_cuda for value in model.checkpoint_state().values())
    for name in terms.keys() - {"itm"}:  # its negatives are other draws on a GPU
        assert terms[name].item() == pytest.approx(expected[name].item(), rel=1e-3)
    if arch == "albef_vqa":
        assert model.rank_answers(moved, ["yes", "no", "red"], 2).shape == (4,)
        assert len(model.generate(moved, num_beams=2, max_length=4)) == 4
