"""The typed configuration: every key that a YAML file may set, with its default and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelConfig:
    """`model:` — which backbone. Model classes may extend this (their attribute `config_class`)."""

    arch: str = "clip"  # registered model name
    model_type: str = ""  # the backbone's own architecture name, or a JSON file that describes one
    pretrained: str | None = None  # file, local-dir:<folder>, hf-hub:<name>, or a tag the backbone's library knows
    image_size: int | None = None  # None: the architecture's own
    grad_checkpointing: bool = False  # trade compute for activation memory
    fast_towers: str = (
        "auto"  # auto | true | false: attention and MLPs rewritten for speed and memory, or the library's own
    )
    args: dict[str, Any] = field(default_factory=dict)  # further arguments of the architecture


@dataclass
class StageProcessors:
    """One processor for training, one for evaluation: {name: registered name, <argument>: value}."""

    train: dict[str, Any] = field(default_factory=dict)
    eval: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageStorage:
    storage: str = ""  # the image root


@dataclass
class AnnotationStorage:
    storage: list[str] = field(default_factory=list)  # JSON files, concatenated


@dataclass
class BuildInfo:
    images: ImageStorage = field(default_factory=ImageStorage)
    annotations: dict[str, AnnotationStorage] = field(default_factory=dict)  # split -> files


@dataclass
class DatasetConfig:
    """`datasets.<name>:` — one registered builder and where its files lie."""

    data_type: str = "images"
    vis_processor: StageProcessors = field(default_factory=StageProcessors)
    text_processor: StageProcessors = field(default_factory=StageProcessors)
    build_info: BuildInfo = field(default_factory=BuildInfo)
    forget_list: str = ""  # template with {seed}
    image_cache: str = "none"  # none | memory | disk: keep decoded uint8 images of deterministic processors
    image_cache_folder: str | None = None  # for disk; None: <run.output_dir>/pixels
    image_cache_gb: float = 20.0  # for disk: bound of all caches in that folder together
    generate: str | None = None  # size of a generated data set: mini | tiny
    generate_seed: int = 42


@dataclass
class SalmubenchConfig:
    """`run.salmubench:` — what the published descriptions leave open."""

    acs_features: str = "cosine"  # cosine | product: what ACS's probe sees of a pair
    idzsc_prompt: str = "name"  # name ("{name}") | photo ("a photo of {name}")
    retfail_own_caption: str = "drop"  # drop | keep: may a distractor be the query's own caption
    seed: int = 42  # of every draw; the same for all models that are compared
    distractors: int = 1000  # RetFail: texts drawn from forget, and as many from retain_disjoint


@dataclass
class RelearnConfig:
    """`run.relearn:` — metric kind `relearning`: a copy of the model is taught a part of Df anew."""

    steps: list[int] = field(default_factory=lambda: [0, 20, 50, 100])  # optimiser steps after which it is asked
    fraction: float = 0.1  # of every identity's pictures in Df that is taught; the others are asked about
    lr: float = 2e-4
    batch_size: int = 32
    seed: int = 42  # of the draws; the same for all models that are compared


@dataclass
class RunConfig:
    """`run:` — everything about one run."""

    task: str = "retrieval"  # registered task
    runner: str = "epoch"  # registered runner
    method: str | None = None  # set by --unlearn_method
    reference: str = "compromised"  # train.py: compromised | clean | retrained
    alpha: float = 0.5  # set by --alpha; read by methods that have a mixing factor

    output_dir: str = "output"
    seed: int = 42
    seed_folder: bool = False  # put the run into a folder seed-<seed> of its own
    subfolder: str = ""  # put the run into this folder below its usual one: budget-5, init_lr-1e-4
    device: str = "auto"  # auto | cpu | cuda | cuda:<n> | mps
    threads: int | None = None  # CPU threads of torch; None: torch's own choice

    df_size: int | None = None  # images to forget; set by --df_size
    df_seed: int = 42  # which forget list
    dr_max_ratio: int = 5  # evaluate at most this many times |Df| rows of Dr
    train_on_holdout: bool = False  # references, and retrain: they see the holdout splits too
    read_holdouts: bool = True  # false: holdout splits count as absent, while settings are being chosen

    lr_sched: str = "linear_warmup_cosine_lr"  # registered schedule
    init_lr: float = 1e-7
    min_lr: float = 0.0
    warmup_lr: float | None = None  # None: init_lr
    warmup_steps: int = 0
    weight_decay: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    max_epoch: int = 10
    max_steps_per_epoch: int | None = None
    batch_size_train: int = 32  # unlearning: half from Df, half from Dr
    batch_size_eval: int = 128
    accum_grad_iters: int = 1
    max_grad_norm: float | None = None
    amp: bool = False
    amp_dtype: str = "auto"  # auto | bf16 | fp16
    attention: str = "auto"  # auto (torch chooses) | math (fastest for tiny towers on CPU) | flash | efficient
    num_workers: int = 8
    weights: dict[str, float] = field(default_factory=dict)  # loss term -> weight
    method_args: dict[str, Any] = field(default_factory=dict)  # a method's own hyper-parameters
    teacher_cache: str = "auto"  # auto (in memory, and in run.feature_cache for later runs) | memory | none
    find_unused_parameters: bool = False
    parallel: str = "ddp"  # several processes: ddp (each has the whole model) | fsdp (each has a part of it)
    gather_similarity: bool = False  # several processes: similarities over the batch of all of them together

    resume_ckpt_path: str | None = None  # weights to start from, in place of the original model's
    resume: bool = True  # continue from the newest valid checkpoint of the run folder
    keep_last: int = 2  # checkpoints kept (and always the best)
    save_freq_steps: int = 0  # also write a checkpoint every so many steps; 0: at epoch ends only
    log_freq: int = 50
    tensorboard: bool = False

    evaluate_after: bool = True
    metrics: list[str] = field(default_factory=lambda: ["retrieval", "membership", "cosine"])
    train_splits: list[str] = field(default_factory=lambda: ["train"])
    valid_splits: list[str] = field(default_factory=list)  # evaluated after every epoch; the best is kept
    test_splits: list[str] = field(default_factory=lambda: ["test"])
    eval_max_pairs: int | None = None  # rows per split, for quick looks
    merge_equal_captions: bool = True  # equal strings count as one text
    shard_features: bool = False  # several processes: each holds a part of every split's features when it evaluates
    use_dist_eval_sampler: bool = False  # kept for LAVIS files; evaluation is exact for any number of processes
    k_test: int = 256  # candidates re-ranked by fused encoders
    inference_method: str = "rank"  # vqa: rank (the answers of the data set's list) | generate
    num_ans_candidates: int = 128  # vqa: answers of the list that are ranked, chosen by their first token
    num_beams: int = 3  # vqa: beams of generation
    on_bad_image: str = "fail"  # fail | skip
    checkpoint: str | None = None  # evaluate.py: which weights
    checkpoints: list[str] = field(default_factory=list)  # evaluate.py: several, one after the other
    feature_cache: str | None = "auto"  # embeddings kept for later; auto: <output_dir>/features, null: none are kept
    feature_cache_gb: float = 2.0  # the oldest are deleted beyond this size
    imagenet: str | None = None  # ImageNet-1k's validation pictures: class folders, *.tar or *.parquet
    salmubench: SalmubenchConfig = field(default_factory=SalmubenchConfig)

    relearn: RelearnConfig = field(default_factory=RelearnConfig)
    jobs: dict[str, Any] = field(default_factory=dict)  # overrides by job: original, compromised, …, or a method


CHOICES = {
    "run.reference": ("compromised", "clean", "retrained"),
    "run.amp_dtype": ("auto", "bf16", "fp16"),
    "run.attention": ("auto", "math", "flash", "efficient"),
    "run.parallel": ("ddp", "fsdp"),
    "run.teacher_cache": ("auto", "memory", "none"),
    "run.on_bad_image": ("fail", "skip"),
    "run.inference_method": ("rank", "generate"),
}
POSITIVE = (
    "k_test",
    "num_ans_candidates",
    "num_beams",
    "max_epoch",
    "batch_size_train",
    "batch_size_eval",
    "accum_grad_iters",
    "keep_last",
    "log_freq",
)
NOT_NEGATIVE = ("dr_max_ratio", "num_workers", "warmup_steps", "save_freq_steps", "init_lr", "min_lr", "weight_decay")
POSITIVE_IF_SET = ("max_steps_per_epoch", "eval_max_pairs", "max_grad_norm", "threads", "feature_cache_gb")
REFERENCE_JOBS = ("original", "compromised", "clean", "retrained")
RETIRED = {
    "world_size": "torch.distributed.run sets it",
    "dist_url": "torch.distributed.run sets it",
    "distributed": "it follows from the launcher",
    "gpu": "use run.device",
    "evaluate": "use evaluate.py",
}
