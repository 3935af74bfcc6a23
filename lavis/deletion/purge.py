"""Removes from an output folder what is left of the forget rows, and looks whether anything remains.

Caches, training states and the parts of audits are deleted, since a later run computes them again. Embeddings stay only
where they are known to belong to other rows; the queue of a fused model's checkpoint is emptied. In texts, and in the
configuration inside checkpoints, what identifies a forget row is replaced by a keyed hash. No score of a model changes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lavis.audits.runner import SHARED
from lavis.common.aliases import HASH_BYTES
from lavis.common.checkpoint import BEST, all_checkpoints, load_file, save_checkpoint, weights_digest
from lavis.common.files import write_text
from lavis.common.results import AUDIT
from lavis.common.secrets import FILE as SECRET
from lavis.common.secrets import PURGED, keyed_hash, secret_of
from lavis.datasets.builder import PairBuilder
from lavis.deletion.conditions import replace_conditions
from lavis.deletion.digests import telling_digests
from lavis.deletion.forgotten import Forgotten, forgotten_of, retained
from lavis.deletion.record import AUDITED, RECORD
from lavis.deletion.scan import Finder, as_text, parts
from lavis.embedding.feature_store import FOLDER as FEATURES
from lavis.embedding.feature_store import SUFFIX, FeatureStore, key_of
from lavis.models.fused.momentum import FeatureQueue
from lavis.report.gallery import GALLERIES
from lavis.runners.prefixes import FOLDER as PREFIXES
from lavis.trackers.group import holders

FOLDERS = ("pixels", "packed", "shards", PREFIXES)  # decoded images, tables' images, archives' indexes, states
LISTS = ("twins.json", "near_twins.json")  # pairs of a forgotten and a retained image
PORTRAIT = "data:image/jpeg;base64,"
WARNING = (
    "what goes cannot be used again: training cannot continue from the middle (the finished model stays), a later run "
    "computes caches again, an audit starts over, galleries and reports are rewritten by `multidelete report`, and the "
    "configuration no longer names whom it was about"
)


@dataclass
class Purged:
    """What was removed, rewritten, and what `remains` (files in which something forgotten is still found)."""

    removed: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    unsought: int = 0  # values that were not looked for

    def text(self) -> str:
        counts = f"{len(self.removed)} files and folders removed, {len(self.rewritten)} rewritten"
        said = "still found in:" if self.remains else "nothing that identifies a forgotten row was found afterwards"
        lines = [f"{counts}; {said}", *(f"  {place}" for place in self.remains)]
        if self.unsought:
            lines.append(
                f"Not looked for: {self.unsought} values of forgotten rows that are too short, numbers, or shared with "
                "other rows; they were replaced in forget.where alone, so look through log.txt and commands yourself"
            )
        return "\n".join(lines)


def purge(
    folder: Path, output: Path, builder: PairBuilder, say: Callable[[str], None], *, everything: bool = False
) -> Purged:
    """Purge the run `folder` and the caches, lists and logs of its `output` folder; then look at every file there.

    everything: delete the whole embedding caches, and the training states of all runs in the output folder too.
    `say` gets what will be gone, before anything is. Raises the builder's errors if the data are not there any more.
    """
    forgotten = forgotten_of(builder)
    states = all_states(output) if everything else states_of(folder)
    left = len(all_states(output)) - len(states)
    say(f"Purging {folder} and the caches of {output}: {len(states)} training states; {WARNING}")
    if left:
        say(f"{left} training states of other runs stay, from which those runs can continue; --all deletes them too")
    for holder in holders(folder):
        say(f"Not reached by a purge: {holder}")
    texts = (*telling_digests(folder, builder), *forgotten.texts)
    work = _Purge(output, replace(forgotten, texts=texts), builder)
    work.embeddings(everything)
    work.queues(finals_of(output) if everything else [folder / BEST], say)
    work.files(states)
    work.rewrite()
    work.done.remains = Finder(work.forgotten).places(output)
    return work.done


def states_of(folder: Path) -> list[Path]:
    """Training states and half-written files of one run."""
    return [*all_checkpoints(folder), *sorted(folder.glob(".*.tmp"))]


def all_states(output: Path) -> list[Path]:
    """Training states and half-written files of all runs in an output folder."""
    folders = sorted(
        {path.parent for path in output.rglob("checkpoint_*.pth")} | {p.parent for p in output.rglob(".*.tmp")}
    )
    return [path for folder in folders for path in states_of(folder)]


def finals_of(output: Path) -> list[Path]:
    """The final checkpoints of all unlearning runs in an output folder; references stay as they were trained."""
    paths = [path for path in sorted(output.rglob(BEST)) if not path.is_symlink()]
    return [path for path in paths if load_file(path, lazily=True).get("config", {}).get("run", {}).get("method")]


class _Purge:
    """One purge: what it looks for, and what it has done so far."""

    def __init__(self, output: Path, forgotten: Forgotten, builder: PairBuilder) -> None:
        self.output, self.forgotten, self.builder = output, forgotten, builder
        self.secret = secret_of(output)
        self.done = Purged(unsought=len(forgotten.unsought))

    def embeddings(self, everything: bool) -> None:
        """Delete the teacher's embeddings, and of the models' all that are not known to be of other rows."""
        kept = set() if everything else self._others()
        removed, staying = [], []
        for path in sorted(self.output.rglob(f"{FEATURES}/*{SUFFIX}")):
            store = FeatureStore(path)
            store.load()
            removed += store.keep_only(kept)
            staying += store.rows.values()
            (self.done.rewritten if path.exists() else self.done.removed).append(self._name(path))
        self.forgotten.remember(removed, staying)

    def queues(self, finals: list[Path], say: Callable[[str], None]) -> None:
        """Empty the queues of fused models, which contain features of the rows that training saw last."""
        for path in finals:
            content = load_file(path, lazily=True)
            weights = content["model"]
            emptied = FeatureQueue.emptied(weights)
            if all(torch.equal(emptied[name], weights[name]) for name in FeatureQueue.NAMES if name in weights):
                continue
            say(f"The queue in {path} is emptied: no score depends on it, further training begins with an empty one")
            save_checkpoint(path, {**content, "model": emptied, "state_dict": emptied})
            self._renamed(path.parent, weights_digest(weights), weights_digest(emptied))
            self.done.rewritten.append(self._name(path))

    def _renamed(self, folder: Path, former: str, digest: str) -> None:
        """Say in the run's results that they are of these weights: an evaluation would drop those of others."""
        for path in folder.rglob("*.json"):
            text = path.read_text("utf-8")
            if former in text and path.name != RECORD:
                write_text(path, text.replace(former, digest))

    def _others(self) -> set[bytes]:
        """The keys of what is not to be forgotten, by every secret below the output folder.

        An evaluation that writes into a run folder has a secret of its own there. Rows whose secret is gone have none
        of these keys, and go.
        """
        entries, store = retained(self.builder), self.builder.store
        forgotten = {text for entry in self.builder.partition().df for text in entry.captions}
        texts = {text for entry in entries for text in entry.captions} - forgotten
        images = {image for entry in entries for image in entry.images}
        facts = [("text", text) for text in texts] + [("image", image, *store.stamp(image)) for image in images]
        secrets = {secret_of(path.parent) for path in self.output.rglob(SECRET)}
        return {key_of(secret, *fact) for secret in secrets for fact in facts}

    def files(self, states: list[Path]) -> None:
        """Delete training states, decoded images, parts of audits, lists of look-alikes, galleries."""
        folders = [path for name in FOLDERS for path in sorted(self.output.rglob(name)) if not self._is_source(path)]
        folders += [path / name for path in sorted(self.output.rglob(AUDIT)) for name in AUDITED]
        folders += [self.output / SHARED]
        lists = [path for name in LISTS for path in self.output.rglob(name)]
        pages = [path for path in self.output.rglob("*.html") if PORTRAIT in path.read_text("utf-8", "replace")]
        for path in (*states, *folders, *lists, *self.output.rglob(GALLERIES), *pages):
            if path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                self.done.removed.append(self._name(path))

    def _is_source(self, folder: Path) -> bool:
        """Whether the user's own data lie in a folder that is called like a cache."""
        return any(path.resolve().is_relative_to(folder.resolve()) for path in self.builder.data_files)

    def rewrite(self) -> None:
        """Put keyed hashes in place of what identifies forget rows; delete other files that contain it."""
        finder, conditions = Finder(self.forgotten), set(self.forgotten.conditions)
        for path in sorted(self.output.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            replaced = bool(conditions) and replace_conditions(path, conditions, self._hashed)
            if any(finder.in_bytes(part) for _, part in parts(path)):
                self._replace(path, finder)
            elif replaced:
                self.done.rewritten.append(self._name(path))

    def _replace(self, path: Path, finder: Finder) -> None:
        text = None if path.suffix == ".pth" else as_text(path.read_bytes())
        if text is not None:
            write_text(path, self._redacted(text, finder))
        elif path.suffix == ".pth":
            save_checkpoint(path, self._redacted_tree(load_file(path), finder))
        else:
            path.unlink()
        (self.done.rewritten if path.exists() else self.done.removed).append(self._name(path))

    def _redacted(self, text: str, finder: Finder) -> str:
        def hashed(found: re.Match[str]) -> str:
            return self._hashed(finder.spelled[found[0]])

        return finder.pattern.sub(hashed, text) if finder.pattern else text

    def _hashed(self, text: str) -> str:
        return f"{PURGED}{keyed_hash(self.secret, text, HASH_BYTES).hex()}"

    def _redacted_tree(self, node: Any, finder: Finder) -> Any:
        """The content of a checkpoint with its texts redacted and its tensors as they are."""
        if isinstance(node, dict):
            return {self._redacted_tree(k, finder): self._redacted_tree(v, finder) for k, v in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(self._redacted_tree(part, finder) for part in node)
        return self._redacted(node, finder) if isinstance(node, str) else node

    def _name(self, path: Path) -> str:
        return path.relative_to(self.output).as_posix()
