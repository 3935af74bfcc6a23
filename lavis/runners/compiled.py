"""run.compile: torch.compile of the towers' blocks while a run trains.

It saves a GPU's host most of the single operations of a small batch. A block is compiled for every new shape, so that
captions are padded to few lengths: 32, 48 or the longest that the model reads. Evaluation, whose batches have other
shapes, runs the plain blocks.
"""

from __future__ import annotations

from lavis.common.errors import ConfigError
from lavis.models.base import BaseModel
from lavis.runners.fsdp import blocks
from lavis.settings.schema import RunConfig

BACKEND = "inductor"  # torch's default
LENGTHS = (32, 48)  # of captions, in tokens; SALMU's need at most 32


def check_compile(run: RunConfig) -> None:
    """Raises ConfigError where blocks are not whole."""
    if run.compile and run.parallel == "fsdp":
        raise ConfigError("run.compile does not go with run.parallel=fsdp, which divides the blocks; use ddp")


def compile_blocks(model: BaseModel) -> None:
    """Compile every block of the model at its next call."""
    for block in blocks(model):
        block.compile(dynamic=False, backend=BACKEND)
    longest = model.recipe.context_length or 0
    model.text_lengths = (*(length for length in LENGTHS if length < longest), longest)


def uncompile(model: BaseModel) -> None:
    """Undo `compile_blocks`."""
    for block in blocks(model):
        block._compiled_call_impl = None  # what torch's own modules start with; it has no call for this
    model.text_lengths = ()
