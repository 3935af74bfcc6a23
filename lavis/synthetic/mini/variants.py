"""The sizes of a SALMU-mini, and its variants, which take away what makes forgetting easy in the plain one.

| variant | what is different |
|---|---|
| plain | nothing: whole identities have names whose tokens occur nowhere else, with four wordings of each fact |
| shared_names | first and last names recur, each among people who are retained and people who are forgotten |
| paraphrased | eight other wordings of each fact |
| web | the forget set is 0.5 % of the training pairs, and a person has six images |

All but the plain one contain *proxies*: planted people of the same three kinds with splits of their own, trained on by
the compromised and the retrained model and part of no reported split. Settings may be chosen by looking at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

CAPTIONS, PARAPHRASES = "captions", "paraphrases"  # files of wordings


@dataclass(frozen=True, slots=True)
class Size:
    """Counts of one size, portraits and objects in (retain_synth, val, test). Images are `pixels` wide and high.

    joint: share of the retain portraits that show a forget identity. proxies: planted identities.
    """

    identities: int
    per_identity: int
    portraits: tuple[int, int, int]
    objects: tuple[int, int, int]
    unseen: int
    pixels: int
    joint: float = 0.25
    proxies: int = 0


SIZES = {
    "mini": Size(60, 20, (800, 50, 200), (2000, 100, 400), 50, 96),
    "tiny": Size(12, 10, (120, 10, 40), (400, 20, 80), 40, 64),
}
PROXIED = {"mini": replace(SIZES["mini"], proxies=20), "tiny": replace(SIZES["tiny"], proxies=3)}
WEB = {
    "mini": Size(20, 6, (3700, 50, 200), (8500, 100, 400), 50, 96, joint=0.02, proxies=20),
    "tiny": Size(4, 6, (800, 10, 40), (1960, 20, 80), 40, 64, joint=0.02, proxies=3),
}


@dataclass(frozen=True)
class Variant:
    """What a variant draws.

    sizes: counts by size. shared_names: first and last names recur. wordings: the file of the people's wordings;
    proxies are always described in those of CAPTIONS.
    """

    sizes: Mapping[str, Size] = field(default_factory=lambda: PROXIED)
    shared_names: bool = False
    wordings: str = CAPTIONS


PLAIN = Variant(SIZES)
VARIANTS = {
    "plain": PLAIN,
    "shared_names": Variant(shared_names=True),
    "paraphrased": Variant(wordings=PARAPHRASES),
    "web": Variant(WEB),
}
