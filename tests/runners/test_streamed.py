"""Dr read from tar shards and an Arrow file by two processes that are killed: the run continues where each shard was.

Every image of a shard is read by its place in the index, and a checkpoint's (epoch, step) determines the rows of all
processes. So there is no position in a stream that could be lost.
"""

from __future__ import annotations

import signal
import tarfile

import pytest

from lavis.common.checkpoint import all_checkpoints
from lavis.datasets.annotations import read_annotations
from lavis.datasets.mapped import write_mapped
from tests.processes import rank_variables, run, start
from tests.runners.interrupted import command, folder, same_weights, wait_for

EPOCHS = "run.max_epoch=30"


@pytest.fixture
def streamed(world) -> tuple[str, ...]:
    """Options that name three shards with the world's images, and its training rows in an Arrow file."""
    shards = world.path / "shards"
    shards.mkdir()
    for number in range(3):
        with tarfile.open(shards / f"{number}.tar", "w") as archive:
            for image in sorted(world.images.rglob("*.jpg"))[number::3]:
                archive.add(image, image.relative_to(world.images).as_posix())
    write_mapped(world.path / "train.arrow", read_annotations(world.notes / "train.json"))
    info = "datasets.salmu.build_info"
    return f"{info}.images.storage={shards}", f"{info}.annotations.train.storage=[{world.path / 'train.arrow'}]"


def test_two_killed_processes_end_with_the_weights_of_an_undisturbed_run_over_files(world, streamed):
    whole = run(command(world, "files", EPOCHS), 2)
    assert whole.returncode == 0, whole.stderr
    words, place = command(world, "shards", EPOCHS, *streamed, "run.num_workers=1"), folder(world, "shards")
    ranks = [start(words, env=variables) for variables in rank_variables(2)]
    wait_for(ranks[0], lambda: place.exists() and all_checkpoints(place))
    for process in ranks:
        process.kill()
        process.communicate()
    assert ranks[0].returncode == -signal.SIGKILL
    last = run(words, 2)
    assert last.returncode == 0, last.stderr
    assert "Resumed from" in last.stderr
    assert same_weights(place, folder(world, "files"))
