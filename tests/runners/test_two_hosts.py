"""Two hosts (network namespaces joined by a virtual cable): one is killed and restarted, and the run continues.

The launcher is torch.distributed.run with its own c10d rendezvous; the hosts share a file system, as in a cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lavis.common.checkpoint import all_checkpoints, load_checkpoint
from tests.processes import ROOT, run
from tests.small import write_world

PORT = 29611
STEPS = ("run.max_epoch=150", "run.save_freq_steps=2", "run.evaluate_after=false", "run.keep_last=3")


@dataclass(frozen=True)
class Host:
    """A network namespace with one address."""

    space: str
    address: str
    cable: str

    def start(self, command: list[str], log: Path) -> subprocess.Popen:
        """The launcher on this host, in its own process group, with its output in a file."""
        launcher = [
            "--nnodes=2",
            "--nproc_per_node=1",
            "--max_restarts=5",
            "--rdzv_backend=c10d",
            f"--rdzv_endpoint=10.211.77.1:{PORT}",
            "--rdzv_id=two-hosts",
            f"--rdzv_conf=is_host={str(self.address.endswith('.1')).lower()}",
            f"--local_addr={self.address}",
        ]
        argv = ["ip", "netns", "exec", self.space, sys.executable, "-m", "torch.distributed.run", *launcher]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "GLOO_SOCKET_IFNAME": self.cable,
            "TP_SOCKET_IFNAME": self.cable,
            # Otherwise a launcher that outlives another does not announce the new group's address (torch 2.14).
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        with log.open("ab") as stream:
            return subprocess.Popen(
                [*argv, *command[1:]], env=environment, stdout=stream, stderr=stream, start_new_session=True
            )


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"network namespaces cannot be made here: ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that can reach only each other."""
    if not shutil.which("ip"):
        pytest.skip("network namespaces cannot be made here: there is no `ip` command")
    tag = uuid.uuid4().hex[:6]
    pair = tuple(Host(f"lavis-{tag}-{n}", f"10.211.77.{n}", f"v{tag}{n}") for n in (1, 2))
    try:
        for host in pair:
            _ip("netns", "add", host.space)
        _ip("link", "add", pair[0].cable, "type", "veth", "peer", "name", pair[1].cable)
        for host in pair:
            _ip("link", "set", host.cable, "netns", host.space)
            _ip("-n", host.space, "addr", "add", f"{host.address}/24", "dev", host.cable)
            _ip("-n", host.space, "link", "set", host.cable, "up")
            _ip("-n", host.space, "link", "set", "lo", "up")
        yield pair
    finally:
        for host in pair:
            subprocess.run(["ip", "netns", "del", host.space], capture_output=True, check=False)


def _kill(host: Host, process: subprocess.Popen) -> None:
    """Like a power cut: every process of the host ends at once."""
    listed = subprocess.run(["ip", "netns", "pids", host.space], capture_output=True, text=True, check=False).stdout
    for number in listed.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)
    process.wait(30)


def _until(condition, processes: list[subprocess.Popen], logs: list[Path], seconds: int = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        dead = [p for p in processes if p.poll() not in (None, 0)]
        if dead or time.monotonic() > deadline:
            raise AssertionError("\n".join(log.read_text()[-3000:] for log in logs))
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_host_is_killed_and_comes_back_and_the_weights_are_the_same(hosts, tmp_path):
    world = write_world(tmp_path / "world")
    done = run(world.command("train.py"))
    assert done.returncode == 0, done.stderr
    original = f"run.resume_ckpt_path={world.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}"
    # One process that accumulates two micro-batches is what two hosts compute (tests/runners/test_processes.py).
    straight = run(
        world.unlearn("vlul", options=(*STEPS, original, f"run.output_dir={tmp_path / 'calm'}")), processes=2
    )
    assert straight.returncode == 0, straight.stderr
    command = world.unlearn("vlul", options=(*STEPS, original, f"run.output_dir={tmp_path / 'out'}"))
    folder = tmp_path / "out" / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    logs = [tmp_path / f"host-{n}.log" for n in (1, 2)]
    running = [host.start(command, log) for host, log in zip(hosts, logs, strict=True)]
    try:
        _until(lambda: folder.exists() and len(all_checkpoints(folder)) >= 2, running, logs)
        _kill(hosts[1], running[1])
        running[1] = hosts[1].start(command, logs[1])
        _until(lambda: all(p.poll() == 0 for p in running), running, logs, 400)
    finally:
        for host, process in zip(hosts, running, strict=True):
            _kill(host, process)
    said = "".join(log.read_text() for log in logs)
    assert "Resumed from" in said, said[-3000:]
    calm = tmp_path / "calm" / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    one, two = (load_checkpoint(path / "checkpoint_best.pth")["model"] for path in (calm, folder))
    assert all(torch.equal(one[name], two[name]) for name in one)
