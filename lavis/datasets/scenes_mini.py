"""Miniatures of COCO, Flickr30k, VQA, NLVR2 and SNLI-VE: drawn scenes in the formats of the real data sets.

    python -m lavis.datasets.scenes_mini --data vqa --size mini
    python -m lavis.datasets.scenes_mini --data nlvr --size tiny --out FOLDER --df-out FOLDER --seed 42

The builders draw a missing data set, so no command is needed before a run. Each miniature has two sizes, `<data>_mini`
and, for tests, `<data>_tiny`. Without looking at the image, a guess is right for 35.4 % of the VQA questions (the mean
of 1/3, 1/4, 1/3 and 1/2 over the four kinds), 50 % of the NLVR2 statements and 33.3 % of the SNLI-VE hypotheses; R@1
by chance is 1 / number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from lavis.common.cli import run_main
from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.drawn import DrawnBuilder, draw, parser
from lavis.datasets.nlvr import NlvrBuilder
from lavis.datasets.snli_ve import SnliVeBuilder
from lavis.datasets.vqa import VqaBuilder

COMMAND = "lavis.datasets.scenes_mini"


class SceneBuilder(DrawnBuilder):
    """Draws scenes; `kind` is the data set that they stand for."""

    kind: ClassVar[str] = ""

    def ensure(self, root: Path, lists: Path, size: str, seed: int) -> bool:
        from lavis.synthetic.scenes.layout import ensure

        return ensure(self.kind, root, lists, size, seed)


def _builder(kind: str, size: str, job: str, task: str, base: type[PairBuilder] = PairBuilder) -> type[SceneBuilder]:
    """Register the builder `<kind>_<size>`; `job` is its task's name on the command line."""
    bases = (SceneBuilder,) if base is PairBuilder else (SceneBuilder, base)
    facts = {
        "__doc__": f"Drawn scenes in the format of {kind}, size {size}.",
        "__module__": __name__,
        "name": f"{kind}_{size}",
        "kind": kind,
        "size": size,
        "command": f"{COMMAND} --data {kind}",
        "job_names": {job: task},
    }
    return registry.register_builder(f"{kind}_{size}")(type(f"{kind}_{size}", bases, facts))


CocoMini = _builder("coco", "mini", "coco_mini_retrieval", "retrieval")
CocoTiny = _builder("coco", "tiny", "coco_tiny_retrieval", "retrieval")
FlickrMini = _builder("flickr30k", "mini", "flickr30k_mini_retrieval", "retrieval")
FlickrTiny = _builder("flickr30k", "tiny", "flickr30k_tiny_retrieval", "retrieval")
VqaMini = _builder("vqa", "mini", "vqa_mini", "vqa", VqaBuilder)
VqaTiny = _builder("vqa", "tiny", "vqa_tiny", "vqa", VqaBuilder)
NlvrMini = _builder("nlvr", "mini", "nlvr_mini", "nlvr", NlvrBuilder)
NlvrTiny = _builder("nlvr", "tiny", "nlvr_tiny", "nlvr", NlvrBuilder)
SnliVeMini = _builder("snli_ve", "mini", "ve_mini", "multimodal_classification", SnliVeBuilder)
SnliVeTiny = _builder("snli_ve", "tiny", "ve_tiny", "multimodal_classification", SnliVeBuilder)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a miniature from the command line. Returns the exit code. Raises as `ensure`."""
    from lavis.synthetic.scenes.layout import ensure
    from lavis.synthetic.scenes.plan import MAKERS, SIZES

    command = parser(COMMAND, "Draw a miniature.", tuple(SIZES))
    command.add_argument("--data", choices=tuple(MAKERS), required=True, help="the data set it stands for")
    args = command.parse_args(argv)
    return draw(args, args.data, partial(ensure, args.data))


if __name__ == "__main__":
    run_main(main)
