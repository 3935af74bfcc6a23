"""The three methods against numbers computed by the public fork's own loss code (tests/golden/losses*.{json,npz})."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lavis.common.features import PairFeatures
from lavis.trainers.delete import delete_terms
from lavis.trainers.erase import erase_terms
from lavis.trainers.vlul import vlul_terms

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
KEYS = ("img_df", "txt_df", "img_dr", "txt_dr")
NAMES = {
    "vlul": {"md": "train_loss_md", "multi": "train_loss_multi", "uni": "train_loss_uni"},
    "erase": {"forget": "train_loss_md", "retain": "train_loss_multi", "consist": "train_loss_uni"},
    "delete": {"forget": "train_loss_md", "retain": "train_loss_multi"},
}


def reference(seed: str, method: str, dtype: str) -> dict:
    losses = json.loads((GOLDEN / "losses.json").read_text())["seeds"][seed][method]
    return losses["float64"] if dtype == "float64" else losses


def computed(seed: str, method: str, dtype: str):
    """(terms, gradients of the raw student embeddings by key)."""
    stored = np.load(GOLDEN / f"losses_seed{seed}.npz")
    kind = getattr(torch, dtype)
    draws = {name: torch.tensor(stored[name], dtype=kind) for name in stored.files if name != "perm"}
    leaves = {key: draws[f"unl_{key}"].requires_grad_() for key in KEYS}
    student_df = PairFeatures(leaves["img_df"], leaves["txt_df"])
    student_dr = PairFeatures(leaves["img_dr"], leaves["txt_dr"])
    teacher_dr = PairFeatures(draws["ori_img_dr"], draws["ori_txt_dr"])
    if method == "vlul":
        shuffled = PairFeatures(draws["ori_img_df"], draws["ori_txt_df"][torch.tensor(stored["perm"])])
        terms = vlul_terms(student_df, student_dr, shuffled, teacher_dr)
    else:
        terms = {"erase": erase_terms, "delete": delete_terms}[method](student_df, student_dr, teacher_dr)
    return terms, leaves


@pytest.mark.parametrize("dtype,loss_tolerance", [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("method", ["vlul", "erase", "delete"])
@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_terms_and_gradients_equal_the_forks(seed, method, dtype, loss_tolerance):
    expected = reference(seed, method, dtype)
    terms, leaves = computed(seed, method, dtype)
    assert set(terms) == set(NAMES[method])
    for name, value in terms.items():
        assert abs(value.item() - expected[NAMES[method][name]]) <= loss_tolerance, name
    total = sum(terms.values())
    assert abs(total.item() - expected["train_loss"]) <= loss_tolerance
    total.backward()
    for key, leaf in leaves.items():
        assert abs(leaf.grad.norm().item() - expected["grad_norms"][key]) <= 1e-5, key
