"""Forked commands behave like commands that are started from scratch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import processes
from tests.processes import rank_variables, run, start

both = pytest.mark.parametrize("fresh", [False, True], ids=["forked", "fresh"])
forked = pytest.mark.skipif(processes.FRESH, reason="torch.distributed.run has codes of its own")
GROUP = """
import os, sys, torch, torch.distributed as dist
from lavis.common import distributed
dist.init_process_group("gloo")
total = torch.tensor(dist.get_rank() + 1)
dist.all_reduce(total)
print("sum", int(total), flush=True)
distributed.shutdown()
if os.environ["RANK"] == sys.argv[1]:
    sys.exit(5)
"""


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


@both
@pytest.mark.parametrize(
    ("code", "status", "out", "error"),
    [
        ("import sys; print(sys.argv, __name__)", 0, "['-c', 'a b'] __main__\n", ""),
        ("import os; print(os.getcwd(), os.environ['WHERE'])", 0, f"{Path.cwd()} here\n", ""),
        ("import sys; print(repr(sys.stdin.read()))", 0, "''\n", ""),
        ("import sys; sys.exit(7)", 7, "", ""),
        ("raise SystemExit('said')", 1, "", "said\n"),
        ("import atexit; atexit.register(print, 'late')", 0, "late\n", ""),
        ("import threading; threading.Timer(0.1, print, ['joined']).start()", 0, "joined\n", ""),
        ("import os; os.abort()", -signal.SIGABRT, "", ""),
    ],
)
def test_it_ends_as_it_should(code, status, out, error, fresh):
    done = run(python(code, "a b"), env={"WHERE": "here"}, fresh=fresh)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, error)


@both
def test_an_error_leaves_its_traceback(fresh):
    done = run(python("1 / 0"), fresh=fresh)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and done.stderr.endswith("ZeroDivisionError: division by zero\n")


@both
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_end_it(number, fresh, tmp_path):
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    process = start(python(code, str(tmp_path / "ready")), fresh=fresh)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(number)
    error = process.communicate(timeout=20)[1]
    assert process.returncode == -number and ("KeyboardInterrupt" in error) is (number == signal.SIGINT)


def test_a_test_that_gives_up_leaves_the_others_their_server(tmp_path):
    code = "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch()"
    given_up = start(python(code, str(tmp_path / "ended")))
    with pytest.raises(subprocess.TimeoutExpired):
        given_up.wait(timeout=0.01)
    del given_up
    while not (tmp_path / "ended").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    assert run(python("print(1)")).stdout == "1\n"


@both
def test_a_signal_to_its_session_reaches_its_children(fresh, tmp_path):
    code = "import os, pathlib, sys, time; child = os.fork(); pathlib.Path(sys.argv[1], str(os.getpid())).touch()\n"
    code += "time.sleep(60)"
    process = start(python(code, str(tmp_path)), fresh=fresh, new_session=True)
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    (child,) = {int(path.name) for path in tmp_path.iterdir()} - {process.pid}
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=20) == -signal.SIGTERM
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@forked
@pytest.mark.parametrize(("failing", "status"), [("nobody", 0), ("1", 5)])
def test_ranks_are_a_group_and_one_that_fails_ends_it(failing, status, tmp_path):
    script = tmp_path / "group.py"
    script.write_text(GROUP)
    done = run([sys.executable, str(script), failing], processes=2)
    said = [line for line in done.stdout.splitlines() if not line.startswith("[Gloo]")]  # torch 2.8 to 2.10 say more
    assert (done.returncode, said) == (status, ["sum 3", "sum 3"])


@forked
def test_a_rank_that_fails_does_not_leave_the_others_waiting():
    code = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(60)"
    assert run(python(code), processes=2).returncode == 3


def test_every_rank_is_told_its_place():
    ranks = rank_variables(2)
    assert [rank["RANK"] for rank in ranks] == ["0", "1"] and {rank["WORLD_SIZE"] for rank in ranks} == {"2"}
    assert ranks[0]["MASTER_PORT"] == ranks[1]["MASTER_PORT"]


def test_forked_processes_draw_numbers_of_their_own():
    code = "import random, numpy; print(random.random(), numpy.random.rand())"
    numbers = "".join(run(python(code)).stdout for _ in range(2)).split()
    assert len(set(numbers)) == 4
