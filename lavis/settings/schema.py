"""The sections `model` and `run` of a YAML file: keys with type, default, meaning, range, and what a change affects.

By default a setting affects weights, so that nobody can change a new one in the middle of a run without a decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lavis.common.errors import ConfigError
from lavis.settings.conditions import ORIGINAL, chooses_epoch, read_by_method
from lavis.settings.declaration import NOTHING, RESULTS, SEED, Section, setting
from lavis.settings.metric_schema import AuditConfig, RelearnConfig, SalmubenchConfig, seeded
from lavis.settings.parts_schema import AnchorConfig, LoraConfig, SelectConfig

REFERENCES = ("compromised", "clean", "retrained")
REFERENCE_JOBS = (ORIGINAL, *REFERENCES)


@dataclass(frozen=True)
class ModelConfig(Section):
    """`model:` — the backbone. Model classes may extend this (attribute `config_class`)."""

    arch: str = setting("clip", "registered model")
    model_type: str = setting(
        "",
        "the architecture: a name of the backbone's library, a JSON file, or a model with its weights "
        "(local-dir:<folder>, hf-hub:<name>, a run folder, a checkpoint); empty: what the weights say",
    )
    pretrained: str | None = setting(
        None, "weights: a file, local-dir:<folder>, hf-hub:<name>, or a tag the backbone's library knows"
    )
    image_size: int | None = setting(
        None, "side of an image in pixels; null: the architecture's own", least=1, most=8192
    )
    grad_checkpointing: bool = setting(
        False, "save memory: recompute activations in the backward pass", affects=NOTHING
    )
    fast_towers: str = setting(
        "auto",
        "attention and MLPs rewritten for speed and memory (true), or the library's own (false); auto: if verified",
        choices=("auto", "true", "false"),
        affects=NOTHING,
    )
    args: dict[str, Any] = setting({}, "other arguments of the architecture")
    override_recipe: bool = setting(
        False,
        "continue if settings contradict what the weights say about their model; results.json lists what was replaced",
        affects=NOTHING,
    )


@dataclass(frozen=True)
class RunConfig(Section):
    """`run:` — everything about one run."""

    retired: ClassVar[dict[str, str]] = {
        "world_size": "torch.distributed.run sets it",
        "dist_url": "torch.distributed.run sets it",
        "distributed": "it follows from the launcher",
        "gpu": "use run.device",
        "evaluate": "use evaluate.py",
        "tensorboard": "use run.tracker=tensorboard",
    }

    task: str = setting("retrieval", "registered task")
    runner: str = setting("epoch", "registered runner")
    method: str | None = setting(None, "unlearning method; set by --unlearn_method")
    reference: str = setting("compromised", "train.py: which reference model", choices=REFERENCES)
    alpha: float = setting(
        0.5,
        "mixing factor; set by --alpha",
        least=0,
        most=1,
        affects=NOTHING,
        weights_if=read_by_method,
        ignored="the method has no mixing factor",
    )

    output_dir: str = setting("output", "folder for everything that is written", affects=NOTHING)
    seed: int = setting(42, "seed of all draws in training, and in unlearning without unlearn_seed", **SEED)
    unlearn_seed: int | None = setting(None, "seed of all draws in unlearning; null: run.seed", **SEED)
    eval_seed: int | None = setting(
        None, "seed of all draws in evaluation and audits; null: each section's own", **SEED, affects=RESULTS
    )
    seed_folder: bool = setting(
        False, "put the run into a subfolder seed-<seed>, with unlearn_seed seed-<seed>-<unlearn_seed>", affects=NOTHING
    )
    run_folder: str | None = setting(
        None, "the run folder itself; null: one below output_dir by method, backbone, task, df_size", affects=NOTHING
    )
    subfolder: str = setting("", "put the run into this subfolder, such as budget-5, init_lr-1e-4", affects=NOTHING)
    device: str = setting(
        "auto", "where to compute", choices=("auto", "cpu", "cuda", "cuda:<n>", "mps"), affects=NOTHING
    )
    threads: int | None = setting(None, "CPU threads; null: torch's own choice", least=1, most=1024, affects=NOTHING)

    df_size: int | None = setting(None, "how many images of the forget list to forget (--df_size); null: all", least=1)
    df_seed: int = setting(42, "which forget list", **SEED)
    dr_max_ratio: int = setting(5, "evaluate at most this many times |Df| rows of Dr", least=1, affects=RESULTS)
    twins: str | None = setting(
        None,
        "retained images that are copies of images to forget: forget, keep or stop; null: stop for pairs, else keep",
        choices=("forget", "keep", "stop"),
    )
    near_twins: float | None = setting(
        None,
        "least cosine, by the original model, of a retained image to one to forget for it to be reported; null: none",
        above=0,
        most=1,
        affects=NOTHING,
    )
    train_on_holdout: bool = setting(False, "references and retrain: train on the holdout splits too")
    long_captions: str = setting(
        "warn",
        "captions beyond the model's context length: warn (cut off), stop, or split (several captions of the image)",
        choices=("warn", "stop", "split"),
    )
    read_holdouts: bool = setting(True, "false: treat holdout splits as absent, to choose settings", affects=RESULTS)

    lr_sched: str = setting("linear_warmup_cosine_lr", "registered schedule of the learning rate")
    init_lr: float = setting(1e-7, "learning rate after the warm-up", least=0, most=1000)
    min_lr: float = setting(0.0, "final learning rate of a cosine", least=0, most=1000)
    warmup_lr: float | None = setting(
        None, "first learning rate of the warm-up; -1: init_lr; null: the schedule's", least=0, most=1000, also=(-1,)
    )
    warmup_steps: int = setting(0, "steps of the warm-up", least=0)
    weight_decay: float = setting(0.001, "AdamW's weight decay, of matrices alone", least=0, most=1000)
    beta1: float = setting(0.9, "AdamW's decay of the gradient's mean", least=0, below=1)
    beta2: float = setting(0.999, "AdamW's decay of the gradient's square", least=0, below=1)
    adam_eps: float = setting(1e-8, "AdamW's epsilon", above=0, most=1000)
    max_epoch: int = setting(10, "epochs", least=1)
    max_steps_per_epoch: int | None = setting(None, "end each epoch after this many steps; null: never", least=1)
    batch_size_train: int = setting(32, "rows in a batch; unlearning takes half from Df, half from Dr", least=1)
    # It affects results: a generated answer, as published, depends on the other rows of its batch.
    batch_size_eval: int = setting(128, "rows in a batch of evaluation", least=1, affects=RESULTS)
    accum_grad_iters: int = setting(1, "batches in an optimiser step", least=1)
    max_grad_norm: float | None = setting(None, "clip gradients to this norm; null: never", above=0)
    amp: bool = setting(False, "train in half precision")
    amp_dtype: str = setting("auto", "half-precision type", choices=("auto", "bf16", "fp16"))
    embed_amp: bool = setting(
        False, "embed in half precision too, for evaluation and for what is stored of the teacher"
    )
    tf32: bool = setting(
        False, "on CUDA, train with matrix products of ten bits of mantissa (TF32); evaluation stays exact"
    )
    compile: bool = setting(
        False, "compile the towers' blocks (torch.compile) for training: faster on a GPU, slower on a CPU"
    )
    attention: str = setting(
        "auto",
        "kernel of attention: auto (torch chooses), math (fastest for tiny towers on a CPU), flash, efficient",
        choices=("auto", "math", "flash", "efficient"),
    )
    num_workers: int = setting(8, "processes that decode images", least=0, most=1024, affects=NOTHING)
    weights: dict[str, float] = setting({}, "loss term -> its weight, 1 by default", absent=1.0)
    method_args: dict[str, Any] = setting({}, "the method's own settings")
    trainable: list[str] = setting([], "patterns of the parameters to train (visual.*, *.mlp.*); empty: all", lone=True)
    lora: LoraConfig = setting(LoraConfig(), "train low-rank factors instead of the weights")
    select: SelectConfig = setting(SelectConfig(), "train the weights or the layer that gradients on Df point to")
    anchor: AnchorConfig = setting(AnchorConfig(), "hold the weights near the original's")
    interpolate: float | None = setting(
        None,
        "share of the unlearned weights in the result, the rest is the original's; -1: the least share that forgets; "
        "null: 1",
        least=0,
        most=1,
        also=(-1,),
    )
    teacher_cache: str = setting(
        "auto",
        "the teacher's embeddings: auto (in memory, and in feature_cache for later runs), memory, none (computed live)",
        choices=("auto", "memory", "none"),
    )
    frozen_prefixes: str = setting(
        "auto",
        "layers below the first trained one, computed once per image and caption (in feature_cache): auto (where that "
        "saves time), always (refuse the run if it cannot be), never",
        choices=("auto", "always", "never"),
    )
    find_unused_parameters: bool = setting(False, "DDP: find parameters without gradient", affects=NOTHING)
    parallel: str = setting(
        "ddp", "each process has the whole model (ddp) or a part (fsdp)", choices=("ddp", "fsdp"), affects=NOTHING
    )
    gather_similarity: bool = setting(False, "several processes: similarities over the batch of all of them together")

    resume_ckpt_path: str | None = setting(None, "weights to start from, in place of the original model's")
    resume: bool = setting(True, "continue from the newest valid checkpoint of the run folder", affects=NOTHING)
    keep_last: int = setting(2, "how many checkpoints to keep, besides the best", least=1, affects=NOTHING)
    keep_training_state: bool = setting(
        False, "keep the numbered checkpoints (optimiser, random states) when the run has ended", affects=NOTHING
    )
    record_key: str | None = setting(
        None, "file with the key of the deletion record's HMAC; null: none", affects=NOTHING
    )
    purge_after: bool = setting(
        False,
        "when an unlearning run has ended, remove what is left of the forget set in its output folder",
        affects=NOTHING,
    )
    save_freq_steps: int = setting(0, "steps between checkpoints; 0: only after epochs", least=0, affects=NOTHING)
    log_freq: int = setting(50, "steps between two updates of progress bar and trackers", least=1, affects=NOTHING)
    tracker: list[str] = setting(
        [], "tools that also get the log's numbers: jsonl, tensorboard, wandb, mlflow", lone=True, affects=NOTHING
    )

    evaluate_before: bool = setting(
        False, "evaluate what unlearning starts from as well, to show before and after", affects=RESULTS
    )
    evaluate_after: bool = setting(True, "evaluate at the end of training", affects=RESULTS)
    metrics: list[str] = setting(["retrieval", "membership", "cosine"], "metrics and suites", affects=RESULTS)
    train_splits: list[str] = setting(["train"], "splits to train on")
    valid_splits: list[str] = setting([], "splits evaluated after every epoch, to choose the best checkpoint")
    test_splits: list[str] = setting(["test"], "splits to evaluate, besides df, dr and the holdouts", affects=RESULTS)
    eval_max_pairs: int | None = setting(None, "evaluate at most this many rows per split", least=1, affects=RESULTS)
    merge_equal_captions: bool = setting(True, "merge equal captions", affects=RESULTS, weights_if=chooses_epoch)
    shard_features: bool = setting(False, "partition a split's features over the processes", affects=NOTHING)
    use_dist_eval_sampler: bool = setting(
        False,
        "LAVIS: divide evaluation among the processes",
        affects=NOTHING,
        ignored="evaluation is always divided, and exact for any number of processes",
    )
    k_test: int = setting(256, "candidates to re-rank by matching", least=1, affects=RESULTS, weights_if=chooses_epoch)
    inference_method: str = setting(
        "rank",
        "vqa: rank (the answers of the data set's list) or generate",
        choices=("rank", "generate"),
        affects=RESULTS,
        weights_if=chooses_epoch,
    )
    num_ans_candidates: int = setting(
        128, "vqa: answers to rank, by their first token", least=1, affects=RESULTS, weights_if=chooses_epoch
    )
    vqa_rule: str = setting(
        "paper",
        "vqa: answers are all normalised (paper), or not where ten people agree, as in the published script (official)",
        choices=("paper", "official"),
        affects=RESULTS,
        weights_if=chooses_epoch,
    )
    num_beams: int = setting(3, "vqa: beams of generation", least=1, affects=RESULTS, weights_if=chooses_epoch)
    on_bad_image: str = setting("fail", "unreadable images: fail, or skip (leave out)", choices=("fail", "skip"))
    checkpoint: str | None = setting(None, "evaluate.py: which weights", affects=NOTHING)
    checkpoints: list[str] = setting([], "evaluate.py: several weights, one after the other", affects=NOTHING)
    feature_cache: str | None = setting(
        "auto", "folder where embeddings are cached; auto: <output_dir>/features; null: nowhere", affects=NOTHING
    )
    feature_cache_gb: float = setting(2.0, "GB limit of that folder; the oldest go first", above=0, affects=NOTHING)
    imagenet: str | None = setting(None, "ImageNet-1k validation: class folders, *.tar, *.parquet", affects=RESULTS)
    zero_shot: str | None = setting(
        None, "folder with one folder of images per class, for the metric zero_shot", affects=RESULTS
    )
    salmubench: SalmubenchConfig = setting(SalmubenchConfig(), "what SALMUBench leaves open")
    relearn: RelearnConfig = setting(RelearnConfig(), "how relearning is measured")
    audit: AuditConfig = setting(AuditConfig(), "how the unlearned model is attacked")
    jobs: dict[str, Any] = setting({}, "settings per job: original, compromised, …, or a method", affects=NOTHING)

    def __post_init__(self) -> None:
        """Raise ConfigError for settings that contradict each other, and for a run folder outside its place."""
        super().__post_init__()
        for name, section in seeded(self.eval_seed, salmubench=self.salmubench, relearn=self.relearn, audit=self.audit):
            object.__setattr__(self, name, section)
        if self.train_on_holdout and not self.read_holdouts:
            raise ConfigError("run.train_on_holdout=true needs holdout splits, but run.read_holdouts=false hides them")
        if Path(self.subfolder).is_absolute() or ".." in Path(self.subfolder).parts:
            raise ConfigError(f"run.subfolder must be a folder below the run folder, found '{self.subfolder}'")

    @property
    def draw_seed(self) -> int:
        """The seed of this run's own draws: with a method those of unlearning, else those of training."""
        return self.seed if self.method is None or self.unlearn_seed is None else self.unlearn_seed
