"""User errors on the command line: exit code 2, one message, no traceback, nothing written."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from PIL import Image

import evaluate
import train
import unlearn
from lavis.common.cli import run_main
from tests.processes import run
from tests.small import write_world


@pytest.fixture
def world(trained_world, tmp_path):
    """A copy that a test may damage; unlearning starts from the shared original model."""
    copy = write_world(tmp_path / "w")
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    config = yaml.safe_load(copy.config.read_text())
    config["run"]["resume_ckpt_path"] = str(start)
    copy.config.write_text(yaml.safe_dump(config))
    return copy


@pytest.fixture
def outcome(capsys):
    """`outcome(module, argv)` runs a script's main function and returns (exit code, stdout, stderr)."""

    def call(module, argv):
        with pytest.raises(SystemExit) as ended:
            run_main(lambda _: module.main(argv))
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return call


def words(world, method="vlul", backbone="clip", task="salmu_retrieval", df_size=16, options=()) -> list[str]:
    flags = ["--unlearn_method", method, "--backbone", backbone, "--task", task, "--df_size", str(df_size)]
    return [*flags, "--cfg-path", str(world.config), *(["--options", *options] if options else [])]


def check_refused(result, *fragments: str) -> None:
    code, _, error = result
    assert code == 2, error
    messages = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1, error
    assert "Traceback" not in error
    for fragment in fragments:
        assert fragment in messages[0], messages[0]


@pytest.mark.parametrize(
    "changes,fragments",
    [
        ({"method": "vlull"}, ("unknown trainer 'vlull'", "closest: 'vlul'", "erase")),
        ({"backbone": "clop"}, ("unknown backbone 'clop'", "clip")),
        ({"task": "salmu_retrival"}, ("unknown task 'salmu_retrival'", "closest: 'salmu_retrieval'")),
        ({"task": "salmu_mini_retrieval"}, ("--task is 'salmu_mini_retrieval'", "'salmu_retrieval'")),
        ({"df_size": 17}, ("17", "16", "image-42.txt")),
        ({"df_size": 3}, ("Df is smaller than one batch", "run.batch_size_train")),
        ({"options": ("run.max_epochs=1",)}, ("'run.max_epochs'", "closest: 'max_epoch'")),
        ({"options": ("run.df_seed=43",)}, ("image-43.txt",)),
        ({"options": ("run.jobs.erasse.init_lr=1",)}, ("unknown job 'run.jobs.erasse'", "closest: 'erase'")),
        ({"options": ("run.max_grad_norm=-1",)}, ("run.max_grad_norm must be above 0 or null, found -1",)),
        ({"options": ("run.train_on_holdout=true",)}, ("run.train_on_holdout",)),
        ({"options": ("run.resume_ckpt_path=/no/where.pth",)}, ("/no/where.pth does not exist",)),
    ],
)
def test_wrong_arguments_are_named(world, outcome, changes, fragments):
    check_refused(outcome(unlearn, words(world, **changes)), *fragments)
    assert not list(world.output.rglob("*.pth"))


def test_a_missing_original_model_says_how_to_train_one(world, outcome):
    config = yaml.safe_load(world.config.read_text())
    del config["run"]["resume_ckpt_path"]
    world.config.write_text(yaml.safe_dump(config))
    check_refused(outcome(unlearn, words(world)), "does not exist", "bash bash/ori.sh", "run.resume_ckpt_path")


@pytest.mark.parametrize(
    "missing", ["images", "annotations/train.json", "Df/image-42.txt", "images/forget/00000003_for.jpg"]
)
def test_missing_files_say_what_to_run(world, outcome, missing):
    path = world.path / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    named = "forget row 4 " if path.suffix == ".jpg" else str(path)  # a message must not name whom to forget
    check_refused(outcome(unlearn, words(world)), named, "python -m lavis.datasets.salmu import")


def test_malformed_json_is_named_with_its_line(world, outcome):
    (world.notes / "train.json").write_text('[{"image": "a.jpg",\n "caption": ]')
    check_refused(outcome(unlearn, words(world)), "train.json", "line 2")


def test_an_empty_caption_is_named(world, outcome):
    path = world.notes / "train.json"
    rows = json.loads(path.read_text())
    rows[5]["caption"] = "  "
    path.write_text(json.dumps(rows))
    check_refused(outcome(unlearn, words(world)), "train.json", "caption")


def test_forget_ids_without_annotation_are_counted(world, outcome):
    lines = [f"forget/nobody_{i}.jpg" for i in range(4)] + world.forget_list.read_text().splitlines()[:12]
    world.forget_list.write_text("\n".join(lines) + "\n")
    check_refused(outcome(unlearn, words(world)), "4 of 16 forget ids", *(f"forget row {i} " for i in (1, 2, 3)))


@pytest.mark.parametrize("image", ["../secret.jpg", "/etc/passwd", "forget/link.jpg"])
def test_paths_that_leave_the_image_root_are_refused(world, outcome, image):
    (world.path / "secret.jpg").write_bytes((world.images / "forget" / "00000000_for.jpg").read_bytes())
    (world.images / "forget" / "link.jpg").symlink_to(world.path / "secret.jpg")
    path = world.notes / "train.json"
    rows = json.loads(path.read_text())
    rows[-1]["image"] = image
    path.write_text(json.dumps(rows))
    check_refused(outcome(unlearn, words(world)), image, "root")


def truncated(path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def no_image(path) -> None:
    path.write_text("hello")


def huge(path) -> None:
    Image.new("L", (20_000, 10_000)).save(path, format="JPEG", quality=1)


@pytest.mark.parametrize("damage", [truncated, no_image, huge])
def test_bad_images_fail_or_are_skipped_and_counted(world, outcome, damage):
    path = world.images / "forget" / "00000003_for.jpg"
    damage(path)
    check_refused(outcome(unlearn, words(world)), "forget row 4 ", "run.on_bad_image")
    shutil.rmtree(world.output)
    code, table, error = outcome(unlearn, words(world, options=("run.on_bad_image=skip", "run.max_epoch=1")))
    assert code == 0, error
    results = json.loads((world.folder() / "results.json").read_text())
    assert results["counts"]["skipped_images"] == 1
    assert results["counts"]["df"] == 15


def test_holdout_pairs_are_never_unlearned_on(world, outcome):
    path = world.notes / "train.json"
    rows = json.loads(path.read_text()) + json.loads((world.notes / "holdout_identity.json").read_text())
    path.write_text(json.dumps(rows))
    check_refused(outcome(unlearn, words(world)), "6 training images are in holdout folders")
    check_refused(outcome(train, ["--cfg-path", str(world.config)]), "holdout folders")


def test_evaluate_reproduces_the_runs_metrics(world, outcome):
    code, table, error = outcome(unlearn, words(world, "erase"))
    assert code == 0, error
    assert "membership AUC" in table
    path = world.folder("erase") / "results.json"
    before = json.loads(path.read_text())
    best = world.folder("erase") / "checkpoint_best.pth"
    code, table, error = outcome(evaluate, ["--cfg-path", str(world.config), "--options", f"run.checkpoint={best}"])
    assert code == 0, error
    after = json.loads(path.read_text())
    assert after["metrics"] == before["metrics"]
    assert (after["name"], after["method"], after["df_size"]) == ("erase", "erase", 16)


def test_a_partial_evaluation_leaves_the_runs_results_alone(world, outcome):
    assert outcome(unlearn, words(world, "erase"))[0] == 0
    path = world.folder("erase") / "results.json"
    before = path.read_bytes()
    for name, extra in (("checkpoint_0.pth", "run.seed=42"), ("checkpoint_best.pth", "run.eval_max_pairs=2")):
        options = [f"run.checkpoint={world.folder('erase') / name}", extra]
        code, table, error = outcome(evaluate, ["--cfg-path", str(world.config), "--options", *options])
        assert code == 0, error
        assert f"{world.output}/evaluate/clip/salmu_retrieval" in table
    assert path.read_bytes() == before


def test_evaluate_needs_a_checkpoint(world, outcome):
    check_refused(outcome(evaluate, ["--cfg-path", str(world.config)]), "run.checkpoint=<file>")


def test_references_are_written_to_their_folders(world, outcome):
    seen = {}
    for reference in ("compromised", "clean", "retrained"):
        options = [f"run.reference={reference}", "run.train_on_holdout=true", "run.df_size=8", "run.max_epoch=1"]
        code, _, error = outcome(train, ["--cfg-path", str(world.config), "--options", *options])
        assert code == 0, error
        folder = world.output / {"compromised": "original"}.get(reference, reference) / "clip" / "salmu_retrieval"
        seen[reference] = folder / "8" if reference == "retrained" else folder
    for reference, folder in seen.items():
        assert json.loads((folder / "results.json").read_text())["name"] == reference


def test_a_real_process_ends_with_code_2_and_no_traceback(world):
    done = run(world.unlearn("vlull"), fresh=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown trainer 'vlull'; closest: 'vlul'")
    assert "Traceback" not in done.stderr
