"""Signatures of deletion records by SSH keys, made and checked by OpenSSH's ssh-keygen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lavis.common.errors import ConfigError
from lavis.common.files import check_file

NAMESPACE = "deletion-record"


def signature_of(path: Path) -> Path:
    """Where ssh-keygen puts a file's signature."""
    return path.with_name(f"{path.name}.sig")


def sign(path: Path, key: str) -> Path:
    """Sign a file with an SSH key; returns the path of the signature, `<path>.sig`. Raises ConfigError, MissingFile."""
    check_file(key, "SSH key")
    signature = signature_of(path)
    signature.unlink(missing_ok=True)
    done = _run(["-Y", "sign", "-f", key, "-n", NAMESPACE, str(path)])
    if done.returncode:
        raise ConfigError(f"{path} could not be signed with {key}: {done.stderr.strip() or 'ssh-keygen failed'}")
    return signature


def signature_problem(path: Path, signers: str | None = None, signer: str | None = None) -> str:
    """What is wrong with a file's signature; empty if it fits.

    signers: OpenSSH's file of allowed signers, `signer` one of its names. Without them, it is only checked that the
    signature fits the file, and not whose it is.
    """
    signature = ["-n", NAMESPACE, "-s", str(signature_of(path))]
    who = ["-Y", "check-novalidate"] if signers is None else ["-Y", "verify", "-f", signers, "-I", signer or ""]
    done = _run([*who, *signature], path.read_bytes())
    return "" if done.returncode == 0 else f"the signature does not fit the record: {done.stderr.strip()}"


def _run(words: list[str], content: bytes = b"") -> subprocess.CompletedProcess[str]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ConfigError(
            "signing needs ssh-keygen (OpenSSH 8.1 or later), which is not on the PATH; use --key instead"
        )
    done = subprocess.run([program, *words], input=content, capture_output=True, check=False, timeout=60)
    texts = (part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)
