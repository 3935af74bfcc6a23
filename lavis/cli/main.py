"""`multidelete train|unlearn|evaluate|audit|export|purge|record|verify|import|sweep|report|zoo|show-config`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lavis
from lavis.cli.arguments import add_data, data_of, forget_of, with_flags
from lavis.cli.hints import next_steps, outdated
from lavis.common import memory, threads
from lavis.common.arguments import COUNT, MINUTES, SHARE
from lavis.common.cli import USER_ERROR, Parser, run_main, show
from lavis.common.cli import parser as config_parser
from lavis.common.errors import ConfigError, UserFault, suggest
from lavis.common.home import home_path


@dataclass(frozen=True)
class Command:
    """A subcommand: its line in the overview, and what runs the words after it."""

    about: str
    run: Callable[[Sequence[str]], int]


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    return Parser(prog=f"multidelete {name}", description=about, allow_abbrev=False)


def _options(parser: argparse.ArgumentParser) -> None:
    help_text = "settings, e.g. run.max_epoch=1 model.grad_checkpointing=true"
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help=help_text)


def train(words: Sequence[str]) -> int:
    args = config_parser("Train an original model.").parse_args(words)
    from lavis.tasks.entry import train as run

    result = run(args.cfg_path, args.options)
    show(result.table())
    return 0 if result.sound else USER_ERROR


def unlearn_parser() -> argparse.ArgumentParser:
    parser = _parser(
        "unlearn", "Make a model forget some of its data. No configuration file is needed; one is written."
    )
    parser.add_argument(
        "--model",
        required=True,
        help="local-dir:FOLDER, hf-hub:NAME, a run folder, a JSON file, or an architecture of open_clip",
    )
    parser.add_argument("--pretrained", help="weights of an architecture: a tag of open_clip, or a file")
    parser.add_argument("--arch", default="clip", help="registered model (default: clip)")
    add_data(parser, required=True)
    parser.add_argument("--method", default="erase_hold", help="multidelete zoo methods (default: erase_hold)")
    parser.add_argument("--out", required=True, help="run folder")
    parser.add_argument("--df_size", type=COUNT, help="forget only so many images (default: all that are named)")
    parser.add_argument("--alpha", type=SHARE, help="mixing factor of methods that have one")
    _options(parser)
    return parser


def unlearn(words: Sequence[str]) -> int:
    args = unlearn_parser().parse_args(words)
    data = data_of(args)
    assert data is not None
    result = lavis.unlearn(
        model=args.model,
        data=data,
        forget=forget_of(args.forget),
        method=args.method,
        output_dir=args.out,
        pretrained=args.pretrained,
        arch=args.arch,
        df_size=args.df_size,
        alpha=args.alpha,
        options=args.options,
    )
    show(result.text)
    show(next_steps(result, args.out))
    return USER_ERROR if result.problem else 0


def evaluate_parser() -> argparse.ArgumentParser:
    parser = _parser("evaluate", "Evaluate one or several models on their own data, on a table, or on benchmarks.")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="run folders, checkpoints, or models with weights")
    add_data(parser, required=False)
    parser.add_argument("--metrics", help="retrieval,membership,cosine (multidelete zoo metrics)")
    parser.add_argument("--benchmarks", help="salmubench,coco,flickr30k,imagenet,own.csv: one row per model")
    parser.add_argument("--out", help="folder of results (default: the run folder, else output)")
    _options(parser)
    return parser


def evaluate(words: Sequence[str]) -> int:
    args = evaluate_parser().parse_args(words)
    from lavis.api.benchmarks import compare
    from lavis.api.running import evaluated
    from lavis.settings.schema import RunConfig

    metrics = args.metrics.split(",") if args.metrics else RunConfig().metrics
    data, forget = data_of(args), forget_of(args.forget)
    if args.benchmarks:
        table = compare(args.models, args.benchmarks.split(","), data, forget, args.out, args.options)
        show(table.text())
        return 0 if table.sound else USER_ERROR
    code = 0
    for model in args.models:
        result = evaluated(model, data, forget, metrics, args.out, args.options, {})
        show(result.text)
        show(outdated(model))
        code = USER_ERROR if result.problem else code
    return code


def audit_parser() -> argparse.ArgumentParser:
    from lavis.settings.metric_schema import AUDIT_BUDGETS

    parser = _parser("audit", "Attack an unlearned model, and compare what comes back with models that never saw it.")
    parser.add_argument("run", metavar="RUN", help="the run folder of an unlearning, or its checkpoint")
    parser.add_argument("--budget", default=AUDIT_BUDGETS[0], choices=AUDIT_BUDGETS)
    parser.add_argument(
        "--attacks", default="", help="names, by commas (multidelete zoo attacks); default: the budget's"
    )
    parser.add_argument("--minutes", type=MINUTES, default=0, help="leave out the longest attacks until the rest fits")
    parser.add_argument("--original", help="the model that unlearning started from")
    parser.add_argument("--clean", help="a model that saw nobody of the sensitive data")
    parser.add_argument("--retrained", help="a model trained on everything except what was to be forgotten")
    parser.add_argument("--shadows", nargs="+", default=[], metavar="MODEL", help="more retrained models, other seeds")
    parser.add_argument("--control", default="", metavar="SPLIT", help="pairs that no model saw")
    parser.add_argument("--out", help="folder of results (default: audit, in the run folder)")
    _options(parser)
    return parser


def audit(words: Sequence[str]) -> int:
    args = audit_parser().parse_args(words)
    result = lavis.audit(
        args.run,
        budget=args.budget,
        attacks=[name for name in args.attacks.split(",") if name],
        minutes=args.minutes,
        original=args.original,
        clean=args.clean,
        retrained=args.retrained,
        shadows=args.shadows,
        control=args.control,
        output_dir=args.out,
        options=args.options,
    )
    show(str(result))
    show(outdated(args.run))
    return 0 if result.found else USER_ERROR


def export(words: Sequence[str]) -> int:
    parser = _parser("export", "Write a model in open_clip's or transformers' form: weights, tokenizer, model card.")
    parser.add_argument("source", help="a run folder, a checkpoint, or any model with weights")
    parser.add_argument("--to", default="open_clip", choices=("open_clip", "transformers"))
    parser.add_argument("--out", required=True, help="a folder that does not exist, or is empty")
    parser.add_argument("--push-to-hub", metavar="NAME", help="also upload it to the Hugging Face hub")
    args = parser.parse_args(words)
    show(f"{lavis.export(args.source, args.out, args.to, push_to=args.push_to_hub)} written\n")
    return 0


def import_salmu(words: Sequence[str]) -> int:
    from lavis.importing.salmu import main as run

    return run(words) or 0


def sweep(words: Sequence[str]) -> int:
    from lavis.sweeps.cli import main as run

    return run(words) or 0


def report(words: Sequence[str]) -> int:
    from lavis.sweeps.report import main as run

    return run(words) or 0


def zoo(words: Sequence[str]) -> int:
    from lavis.api.zoo import ZOOS

    parser = _parser("zoo", "List what can be named.")
    parser.add_argument("kind", choices=ZOOS)
    show(f"{ZOOS[parser.parse_args(words).kind]}\n")
    return 0


def show_config(words: Sequence[str]) -> int:
    args = config_parser("Print the whole merged configuration, and where each value comes from.")
    args.add_argument("--job", action="append", default=[], help="a method or reference whose run.jobs section applies")
    given = args.parse_args(words)
    from lavis.settings.origins import explained

    show(explained(given.cfg_path, given.options, given.job))
    return 0


def purge(words: Sequence[str]) -> int:
    parser = _parser("purge", "Remove what a run's output folder holds of its forget set. The weights stay.")
    parser.add_argument("run", metavar="RUN", help="the folder of a finished unlearning run")
    parser.add_argument(
        "--all", action="store_true", help="also all cached embeddings, and other runs' training states"
    )
    args = parser.parse_args(words)
    from lavis.api.purging import purge as run

    done = run(home_path(args.run), lambda text: show(f"{text}\n"), everything=args.all)
    show(f"{done.text()}\nThe deletion record is of before; write it again: multidelete record {args.run}\n")
    return 1 if done.remains else 0


def record(words: Sequence[str]) -> int:
    parser = _parser("record", "Write a run's deletion record again, as after an audit or a purge.")
    parser.add_argument("run", metavar="RUN", help="the folder of a finished unlearning run")
    parser.add_argument("--key", help="file whose bytes key an HMAC over the record")
    parser.add_argument("--sign-with", metavar="KEY", help="SSH key that signs the record (ssh-keygen -Y sign)")
    args = parser.parse_args(words)
    from lavis.api.records import record as run

    show(f"{run(home_path(args.run), args.key, args.sign_with)} written\n")
    return 0


def verify(words: Sequence[str]) -> int:
    parser = _parser("verify", "Compare a deletion record with the files of its run.")
    parser.add_argument("record", metavar="RECORD", help="deletion-record.json, or its folder")
    parser.add_argument("--key", help="the key file of its HMAC")
    parser.add_argument("--signers", help="file of allowed signers (man ssh-keygen), to check whose signature it is")
    parser.add_argument("--signer", help="the signer's name in that file")
    args = parser.parse_args(words)
    from lavis.api.records import unsealed
    from lavis.api.records import verify as run

    path = home_path(args.record)
    problems = run(path, args.key, args.signers, args.signer)
    said = [*(problems or ["everything matches the record"]), unsealed(path)]
    show("".join(f"{text}\n" for text in said if text))
    return 1 if problems else 0


COMMANDS = {
    "train": Command("train an original (reference) model from a configuration", train),
    "unlearn": Command("make a model forget some of its data", unlearn),
    "evaluate": Command("measure models, on any data or on benchmarks", evaluate),
    "audit": Command("attack an unlearned model: does what was forgotten come back?", audit),
    "export": Command("write a model in open_clip's or transformers' form", export),
    "purge": Command("remove what is left of the forgotten rows in a run's output folder", purge),
    "record": Command("write a run's deletion record again", record),
    "verify": Command("compare a deletion record with the files of its run", verify),
    "import": Command("convert SALMU's published parquet files", import_salmu),
    "sweep": Command("run the jobs of a sweep, and write its report", sweep),
    "report": Command("write the report of finished runs", report),
    "zoo": Command("list models, data sets, methods, metrics, attacks or trackers", zoo),
    "show-config": Command("print the whole configuration, and where each value comes from", show_config),
}


def overview() -> str:
    """The help of `multidelete` itself."""
    lines = [f"  {name.ljust(12)} {command.about}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: multidelete COMMAND …", "", *lines, "", "multidelete COMMAND --help says more.", ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        show(overview())
        return 0
    if words[0] == "--version":
        show(f"multidelete {lavis.__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        raise ConfigError(f"unknown command '{words[0]}'; {suggest(words[0], COMMANDS)}")
    threads.calm()
    memory.own_large_blocks()
    try:
        return COMMANDS[words[0]].run(words[1:])
    except UserFault as error:
        error.args = (with_flags(str(error)),)
        raise


def console() -> None:
    """The entry point of the installed command."""
    run_main(main)


if __name__ == "__main__":
    console()
