"""Features to rank in partitions, and the ranks of one process with all features."""

from __future__ import annotations

import numpy as np
import torch

from lavis.evaluation.ranking import ranks_from_features

# images, texts, seed, block: more and fewer blocks than processes, uneven ends, a process without rows
CASES = [(300, 700, 1, 64), (40, 40, 2, 64), (129, 65, 3, 64), (500, 500, 4, 128), (3, 9, 5, 64)]


def features(n_img: int, n_txt: int, seed: int, block: int):
    """Few distinct rows (ties), some NaN, equal captions, images without a caption."""
    draws = np.random.default_rng(seed)
    image = torch.from_numpy(draws.integers(-1, 2, (n_img, 8)).astype(np.float32))
    text = torch.from_numpy(draws.integers(-1, 2, (n_txt, 8)).astype(np.float32))
    image[:: max(7, n_img // 5)] = torch.nan
    text[3 :: max(11, n_txt // 4)] = torch.nan
    return image, text, draws.integers(0, n_img, n_txt), draws.integers(0, max(2, n_txt // 3), n_txt), block


def expected(image, text, txt2img, group, block):
    return ranks_from_features(image, text, txt2img, text_group=group, block=block)
