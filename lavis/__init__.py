"""Machine unlearning for vision-language models: MultiDelete and its relatives on CLIP-like models.

Everything below is imported when it is first used, so `import lavis` takes milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lavis.common.namesake import check_namesake

if TYPE_CHECKING:
    from lavis.api.auditing import AuditResult, audit
    from lavis.api.loading import load_dataset, load_model, load_model_and_preprocess
    from lavis.api.running import Result, evaluate, export, unlearn
    from lavis.api.zoo import dataset_zoo, model_zoo

__version__ = "0.1.0"
__all__ = [
    "AuditResult",
    "Result",
    "audit",
    "dataset_zoo",
    "evaluate",
    "export",
    "load_dataset",
    "load_model",
    "load_model_and_preprocess",
    "model_zoo",
    "unlearn",
]
_HOMES = {
    "auditing": ("AuditResult", "audit"),
    "loading": ("load_dataset", "load_model", "load_model_and_preprocess"),
    "running": ("Result", "evaluate", "export", "unlearn"),
    "zoo": ("dataset_zoo", "model_zoo"),
}

check_namesake(Path(__file__).parent)


def __getattr__(name: str) -> Any:
    import importlib

    from lavis.common.interrupts import while_importing

    for home, names in _HOMES.items():
        if name in names:
            with while_importing():
                return getattr(importlib.import_module(f"lavis.api.{home}"), name)
    raise AttributeError(f"module 'lavis' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
