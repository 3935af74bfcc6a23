from __future__ import annotations

import pytest
import torch

from lavis.common.features import PairFeatures


def test_rows_are_normalised_and_similarity_is_image_by_text():
    pairs = PairFeatures(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]]))
    assert torch.allclose(pairs.similarity, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    assert torch.allclose(pairs.paired, pairs.similarity.diagonal())


def test_parts_and_other_texts():
    pairs = PairFeatures(torch.randn(5, 3), torch.randn(5, 3))
    first, second = pairs.split(2, 3)
    assert torch.allclose(torch.cat([first.image, second.image]), pairs.image)
    swapped = pairs.with_text(pairs.text.flip(0))
    assert torch.allclose(swapped.similarity, pairs.similarity.flip(1), atol=1e-6)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((2, 3), (2, 4)), ((3,), (3,))])
def test_unpaired_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="one shape"):
        PairFeatures(torch.randn(shapes[0]), torch.randn(shapes[1]))
