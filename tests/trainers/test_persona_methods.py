"""cpd and erase_hold: terms by hand with a table of text vectors, frozen weights, a SALMU-tiny run without holdouts."""

from __future__ import annotations

import math

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.settings.config import load_config
from lavis.settings.schema import RunConfig
from lavis.tasks.entry import unlearn
from lavis.trainers.erase_hold import similarity_terms
from lavis.trainers.persona import squared_distance
from tests.tiny import CONFIG, draw_tiny, save_untrained
from tests.trainers.toy import CPU, FixedCaptions, Toy, batch

WORDS = ["secret", "double", "public", "held", "kept", "own", "other"]
METHODS = ("cpd", "erase_hold")


class Table(Toy):
    """A text tower that looks up a caption's unit vector."""

    def tokenize(self, captions):
        return torch.tensor([[WORDS.index(caption)] for caption in captions])

    def text_parameters(self, tokens_only=False):
        return list(self.text.parameters())


def angle(model, word: str, degrees: float) -> None:
    """Set a word's vector in the plane of the first two coordinates."""
    turn = math.radians(degrees)
    with torch.no_grad():
        model.text.weight[WORDS.index(word)] = torch.tensor([math.cos(turn), math.sin(turn), 0, 0, 0])


def prepared(method: str, **keys):
    model = Table().eval()
    for number, word in enumerate(WORDS):
        angle(model, word, 10.0 * number)
    subject = registry.get_trainer_class(method)(method, model, RunConfig(**keys), CPU)
    subject.fiction = FixedCaptions()
    step = batch()
    step.sets["df"]["captions"], step.sets["dr"]["captions"] = ["secret", "unmatched"] * 2, ["public"] * 4
    return subject, model, step


def chord(degrees: float) -> float:
    """Squared distance of two unit vectors at this angle: 2 − 2 cos."""
    return 2 - 2 * math.cos(math.radians(degrees))


def test_squared_distance_by_hand():
    one, two = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert squared_distance(one, two).item() == pytest.approx((2 + 0) / 2)
    assert squared_distance(one[:0], two[:0]).item() == 0


def test_cpd_terms_by_hand():
    """secret (0°) is 10° from its double, own (50°) 10° from other; then the student's other words are turned."""
    subject, model, step = prepared("cpd")
    total, terms = subject.loss(step)
    expected = {"forget": chord(10), "retain": 0.0, "hold": 0.0, "values": 0.0, "names": chord(10)}
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, abs=1e-6)
    angle(model, "public", 50)  # was 20
    angle(model, "held", 90)  # was 30
    angle(model, "kept", 41)  # was 40
    terms = subject.loss(step)[1]
    moved = [terms[name].item() for name in ("retain", "hold", "values")]
    assert moved == pytest.approx([chord(30), chord(60), chord(1)], abs=1e-6)


def test_cpd_weights_its_terms():
    subject, _, step = prepared("cpd", weights={"forget": 3.0, "names": 0.5})
    assert subject.loss(step)[0].item() == pytest.approx(3.5 * chord(10), abs=1e-6)


def test_similarity_terms_by_hand():
    """S_f = [[1, 0], [0.6, 0.8]]: mean square (1 + .36 + .64) / 4; S_r is the identity, the teacher's its swap: 1."""
    eye, swap = torch.eye(2), torch.eye(2).flip(0)
    own = {"forget": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "consist": eye}
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    terms = similarity_terms(image, eye, own, {"consist": swap})
    assert terms["forget"].item() == pytest.approx(0.5)
    assert terms["retain"].item() == pytest.approx(1.0)


def test_erase_hold_holds_what_it_should():
    subject, model, step = prepared("erase_hold")
    step.sets["df"]["captions"] = ["secret"] * 4
    terms = subject.loss(step)[1]
    assert [terms[name].item() for name in ("retain", "consist", "hold", "values")] == pytest.approx([0] * 4, abs=1e-6)
    image = torch.nn.functional.normalize(model.encode_image(step.sets["df"]["images"]), dim=-1)
    assert terms["forget"].item() == pytest.approx(image[:, 0].pow(2).mean().item(), abs=1e-6)  # secret is (1, 0, ...)
    angle(model, "held", 90)
    assert subject.loss(step)[1]["hold"].item() == pytest.approx(chord(60), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_text_side_learns(method):
    subject, model, step = prepared(method)
    step.sets["df"]["captions"] = ["secret"] * 4
    subject.loss(step)[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["text.weight"]


@pytest.mark.parametrize("method", METHODS)
def test_wrong_arguments_are_refused(method):
    with pytest.raises(ConfigError, match="tower"):
        registry.get_trainer_class(method).check(method, RunConfig(method_args={"tower": "image"}))
    with pytest.raises(ConfigError, match="at least 1"):
        registry.get_trainer_class(method).check(method, RunConfig(method_args={"held": 0}))
    with pytest.raises(ConfigError, match="text tower"):
        registry.get_trainer_class(method)(method, Toy(), RunConfig(), CPU)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_the_chosen_weights_and_reads_no_holdout(method, tmp_path):
    keys = [*draw_tiny(tmp_path), "run.read_holdouts=false", f"run.output_dir={tmp_path / 'out'}"]
    for split in ("holdout_identity", "holdout_association"):
        (tmp_path / "tiny" / "annotations" / f"{split}.json").unlink()
    keys += ["run.device=cpu", "run.max_epoch=1", "run.max_steps_per_epoch=2", "run.evaluate_after=false"]
    keys += [f"run.resume_ckpt_path={tmp_path / 'model.pth'}", "run.method_args={tower: tokens, held: 4, extra: 4}"]
    before = save_untrained(keys, tmp_path / "model.pth").clip.state_dict()
    size = load_config(CONFIG, keys).run.df_size
    unlearn(CONFIG, keys, "clip", "salmu_tiny_retrieval", {"method": method, "df_size": size, "alpha": 0.5})
    (best,) = (tmp_path / "out").rglob("checkpoint_best.pth")
    after = load_checkpoint(best)["model"]
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["token_embedding.weight"]
