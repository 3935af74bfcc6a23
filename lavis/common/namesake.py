"""Salesforce's LAVIS has our import name: what one installs into a folder, the other overwrites."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

METADATA = "salesforce_lavis*-info"  # its .dist-info, or the .egg-info of a checkout


def check_namesake(package: Path) -> None:
    """Look for Salesforce's `lavis` on sys.path; `package` is the folder of ours.

    Raises ImportError if both share a folder, so that files of each are missing or replaced. Elsewhere, programs that
    mean theirs get ours: that is a warning.
    """
    for entry in dict.fromkeys(map(Path, sys.path)):
        if next(entry.glob(METADATA), None) is None:
            continue
        text = (
            f"Salesforce's distribution salesforce-lavis is installed in {entry.absolute()} and has the same import "
            "name, lavis, as this project's distribution multidelete-salmu: give each an environment of its own"
        )
        if entry.absolute() == package.absolute().parent:
            raise ImportError(f"{text}, or run `pip uninstall salesforce-lavis` and reinstall this project")
        warnings.warn(text, stacklevel=3)
        return
