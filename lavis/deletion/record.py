"""`deletion-record.json`: what an unlearning run was asked to do, did, left in files, and what nobody has tested.

It names nobody: forget rows appear as a count and as a digest of their sorted keyed hashes. The hashes are keyed by the
output folder's secret, so whoever has the rows and the secret can check the digest, and nobody else can guess rows.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import lavis
from lavis.audits.audit import PARTS
from lavis.audits.runner import FRESH, SHARED
from lavis.common.checkpoint import BEST, NAME, load_checkpoint, weights_digest
from lavis.common.files import file_digest, read_json, write_bytes, write_json
from lavis.common.results import AUDIT, FILE_NAME, read_results
from lavis.common.secrets import PURGED, keyed_hash, secret_of
from lavis.datasets.builder import PairBuilder
from lavis.deletion.audited import audit_of, untested
from lavis.deletion.forgotten import row_hashes
from lavis.deletion.page import shows, write_page
from lavis.deletion.seal import seal
from lavis.deletion.signing import sign, signature_of
from lavis.embedding.feature_store import FOLDER as FEATURES
from lavis.settings.shareable import shareable
from lavis.trackers.group import holders

RECORD, PAGE = "deletion-record.json", "deletion-record.html"
OWN = (RECORD, PAGE, f"{RECORD}.sig", ".lock", "log.txt")  # these change after the record is written
AUDITED = (PARTS, FRESH)  # in folders AUDIT: what people did under attack, and photographs drawn of them
SCHEMA, KIND = 1, "deletion record"
CACHES = {
    FEATURES: "embeddings of images and captions, the original model's among them; `multidelete purge` removes them",
    "pixels": "decoded images; `multidelete purge` removes them",
    "packed": "images copied out of tables; `multidelete purge` removes them",
    "shards": "names and places of images in archives; `multidelete purge` removes them",
    SHARED: "sums by person that audits share, of forgotten people too; `multidelete purge` removes them",
}
ELSEWHERE = (
    "the data set itself, with the rows that were to be forgotten",
    "the original model, and models trained or exported from it",
    "models exported from this run, and copies of its files",
    "caches that run.feature_cache or image_cache_folder put outside the output folder",
    "other output folders, with what was measured or cached of these rows there, such as of the original model",
    "backups and snapshots of any of these",
)


def write_record(
    folder: Path, output: Path, builder: PairBuilder | None, *, key: str | None = None, sign_with: str | None = None
) -> Path:
    """Write a finished run's record and its page; returns the record's path.

    builder: the run's data (None: the request is that of the former record). key: a file whose bytes key an HMAC.
    sign_with: an SSH key that signs the record. Raises MissingFile, DataError, CheckpointError, ConfigError, OSError.
    """
    path = folder / RECORD
    request = request_of(builder, output) if builder is not None else read_json(path, "deletion record")["request"]
    about = {"schema": SCHEMA, "kind": KIND, "written": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    done = _done(folder)
    done["read"] = keyed(done["read"], secret_of(output))
    record = {**about, "request": request, **done, **_left(folder, output)}
    with tempfile.TemporaryDirectory() as temporary:  # what fails here leaves the former record as it is
        draft = Path(temporary) / RECORD
        write_json(draft, seal(record, key))
        content = draft.read_bytes()
        signature = None if sign_with is None else sign(draft, sign_with).read_bytes()
    signed = signature_of(path)
    signed.unlink(missing_ok=True)
    write_bytes(path, content)
    if signature is not None:
        write_bytes(signed, signature)
    write_page(folder / PAGE, read_json(path, "deletion record"))
    return path


def _done(folder: Path) -> dict[str, Any]:
    """What the run did to the weights, with what, and what was measured."""
    results, content = read_results(folder / FILE_NAME), load_checkpoint(folder / BEST)
    run = results["config"]["run"]
    original, unlearned = content.get("origin", {}).get("starting weights"), weights_digest(content["model"])
    audit = audit_of(folder)
    return {
        "weights": {"original": original, "unlearned": unlearned, "changed": original != unlearned},
        "method": results["method"],
        "settings": shareable(run),
        "seeds": results.get("seeds") or {"data": results["df_seed"], "training": results["seed"]},
        "software": software(results["commit"]),
        "machine": machine(run.get("device", "")),
        "seconds": results["seconds"],
        "metrics": results["metrics"],
        "problem": results.get("problem", ""),
        "audit": audit,
        "not_tested": untested(audit, unlearned),
        "read": results.get("data", {}).get("files", {}),
    }


def _left(folder: Path, output: Path) -> dict[str, Any]:
    """What there is now, here and elsewhere."""
    return {"files": inventory(folder), "caches": caches(output), "elsewhere": [*ELSEWHERE, *holders(folder)]}


def request_of(builder: PairBuilder, output: Path) -> dict[str, Any]:
    """How many rows and images were to be forgotten, and a digest of their sorted keyed hashes."""
    rows = builder.partition().df
    hashes = row_hashes(rows, secret_of(output))
    digest = hashlib.blake2b("".join(hashes).encode(), digest_size=32).hexdigest()
    images = {image for entry in rows for image in entry.images}
    return {"rows": len(rows), "images": len(images), "digest": digest}


def keyed(digests: dict[str, str], secret: bytes) -> dict[str, str]:
    """Digests of files, keyed: that of a short forget list could be guessed."""
    return {
        path: digest if digest.startswith(PURGED) else keyed_hash(secret, digest).hex()
        for path, digest in digests.items()
    }


def software(commit: str | None) -> dict[str, Any]:
    return {
        "multidelete": lavis.__version__,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def machine(device: str) -> dict[str, Any]:
    """The class of machine that wrote the record; its name is left out."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": sys.platform,
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "device": device,
    }


def inventory(folder: Path) -> list[dict[str, Any]]:
    """Every file of the run folder with its size, digest and fate."""
    return [
        {
            "path": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "digest": file_digest(path),
            "fate": fate(path.relative_to(folder)),
        }
        for path in _files(folder)
    ]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in OWN)


def fate(path: Path) -> str:
    """What becomes of a file, given by its path in the run folder."""
    if path.name == BEST:
        return "stays: the unlearned weights, without any training state"
    if NAME.fullmatch(path.name):
        return "stays (run.keep_training_state): the optimiser's moments can name forgotten tokens; purge removes it"
    if path.parts[0] in CACHES or path.parts[:2] in [(AUDIT, name) for name in AUDITED]:
        return "stays until `multidelete purge`"
    return "stays"


def caches(output: Path) -> list[dict[str, Any]]:
    """What the output folder's caches contain now. Other runs may share them, so they have no digest."""
    found = []
    for name, about in CACHES.items():
        files = [path for path in sorted((output / name).rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        found.append({"folder": name, "files": len(files), "bytes": size, "what": about if files else "empty"})
    return found


def differences(path: Path, record: dict[str, Any]) -> list[str]:
    """What of a record no longer matches the files in its folder, one sentence each."""
    folder = path.parent
    found = [problem for item in record["files"] for problem in _compared(folder, item)]
    return [*found, *_added(folder, record), *_page(folder / PAGE, record), *_weights(folder, record)]


def _added(folder: Path, record: dict[str, Any]) -> list[str]:
    known = {str(item["path"]) for item in record["files"]}
    names = [path.relative_to(folder).as_posix() for path in _files(folder)]
    return [f"{name} is not in the record: it was added since" for name in names if name not in known]


def _page(path: Path, record: dict[str, Any]) -> list[str]:
    if not path.is_file():
        return [f"{PAGE} is no longer there (moved or deleted)"]
    return (
        []
        if shows(path, record)
        else [f"{PAGE} does not show this record (changed, or of another version of this project)"]
    )


def _compared(folder: Path, item: dict[str, Any]) -> Sequence[str]:
    path = folder / str(item["path"])
    if not path.resolve().is_relative_to(folder.resolve()):
        return [f"{item['path']} lies outside the folder of the record; it was not read"]
    if not path.is_file():
        return [f"{item['path']} is no longer there (moved or deleted)"]
    return [] if file_digest(path) == item["digest"] else [f"{item['path']} has changed"]


def _weights(folder: Path, record: dict[str, Any]) -> list[str]:
    if not (folder / BEST).is_file():
        return ["the unlearned weights are not there, so their digest was not compared"]
    found = weights_digest(load_checkpoint(folder / BEST)["model"])
    same = found == record["weights"]["unlearned"]
    return [] if same else [f"the weights in {BEST} are not those of the record"]
