"""Submits jobs to SLURM through submitit, an optional dependency that is imported only here and only if used."""

from __future__ import annotations

import os
import re
import subprocess  # noqa: S404 - argument lists only, never a shell
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lavis.common.errors import ConfigError
from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import Lane, Process, Start

CLUSTERS = ("slurm", "local", "debug")


def slurm_starter(folder: Path, parameters: dict[str, Any]) -> Start:
    """A `start` for the pool that submits jobs.

    Args:
        folder: where submitit writes its scripts and pickles; on a cluster it must be on a shared disk.
        parameters: of submitit's executor (timeout_min, gpus_per_node, slurm_partition, …); `cluster` is where to
            submit: slurm, or for trying things out submitit's local or debug.

    Raises ConfigError if submitit is not installed, does not know a parameter, or finds no SLURM.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "launcher slurm needs submitit: pip install submitit (or pip install -e '.[slurm]'); without it, use "
            "launcher local"
        ) from error
    settings = {"cluster": "slurm", **parameters}
    cluster = settings.pop("cluster")
    if cluster not in CLUSTERS:
        raise ConfigError(f"slurm: 'cluster' is {cluster!r}; it takes {', '.join(CLUSTERS)}")
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**settings)
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise ConfigError(
            f"slurm: {str(error).splitlines()[0]}; the parameters are those of submitit.AutoExecutor"
        ) from error
    return lambda job, lane: Submitted(executor, job, lane)


def slurm_options(words: Sequence[str]) -> dict[str, Any]:
    """`--slurm key=value …` as a dictionary, with values read as YAML. Raises ConfigError."""
    options = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"--slurm takes key=value pairs (timeout_min=120), got '{word}'")
        options[key] = yaml.safe_load(value)
    return options


def slurm_lanes(jobs: int) -> list[Lane]:
    """Places in the queue, for at most this many jobs at a time."""
    return [Lane(f"slurm {place}") for place in range(jobs)]


class Submitted(Process):
    """A submitted job. Its exit code is 1 if it ends without one (a cancelled job, a lost node)."""

    def __init__(self, executor: Any, job: Job, lane: Lane) -> None:
        executor.update_parameters(name=re.sub("[^A-Za-z0-9]", "-", job.name)[:120])  # what SLURM accepts
        self._log = job.log
        self._submitted = executor.submit(run_command, job.argv, str(job.log.resolve()), os.getcwd(), lane.env)
        self._say(f"submitted as {self._submitted.job_id}")

    def poll(self) -> int | None:
        if not self._submitted.done():
            return None
        try:
            return int(self._submitted.result())
        except Exception as error:  # noqa: BLE001 - submitit raises what the job raised, and errors of its own
            self._say(f"job {self._submitted.job_id} ended without a result: {str(error).strip().splitlines()[-1:]}")
            return 1

    def terminate(self) -> None:
        self._submitted.cancel(check=False)

    def kill(self) -> None:
        self._submitted.cancel(check=False)

    def _say(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"({text})\n")


def run_command(argv: Sequence[str], log: str, folder: str, env: dict[str, str]) -> int:
    """Runs on the cluster: the job's command, with its output in its log; returns the exit code."""
    with open(log, "ab") as out:
        everything = {**os.environ, **env}
        done = subprocess.run(argv, stdout=out, stderr=out, cwd=folder, env=everything, check=False)  # noqa: S603
        return done.returncode
