"""Pools: this process, processes of this computer, a Dask cluster."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.parallel import open_pool
from relaxon_isa.errors import ToolError


def test_pool_of_one_is_this_process():
    with open_pool(1) as pool:
        assert list(pool([(os.getpid, ()), (abs, (-3,))])) == [os.getpid(), 3]


def test_processes():
    with open_pool(2) as pool:
        assert sorted(pool((abs, (-n,)) for n in range(4))) == [0, 1, 2, 3]
        assert os.getpid() not in set(pool((os.getpid, ()) for _ in range(4)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_end_with_the_one_that_is_killed(tmp_path):
    for name in "ab":
        (tmp_path / name).touch()
    code = (
        "import os, pathlib, time\nfrom relaxon.parallel import open_pool\n"
        "def work(path):\n    pathlib.Path(path).write_text(str(os.getpid()))\n    time.sleep(99)\n"
        "with open_pool(2) as pool:\n"
        f"    list(pool((work, (f'{tmp_path}/{{n}}',)) for n in 'ab'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    def pids() -> list[str]:
        return [text for name in "ab" if (text := (tmp_path / name).read_text())]

    def running(pid: str) -> bool:
        stat = Path("/proc", pid, "stat")
        return stat.exists() and " Z " not in stat.read_text()

    end = time.monotonic() + 60
    while len(pids()) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(pids()) == 2 and all(map(running, pids()))
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while any(map(running, pids())) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(running, pids()))


SWEEP = """
data = "two.npz"
hidden = "3"
rules = ["ep-centered", "pcn"]
seeds = 2
epochs = 1
[rule.ep-centered.grid]
beta = [0.25, 0.5]
"""


@pytest.mark.filterwarnings("default")  # of Dask's own
def test_dask(tmp_path, monkeypatch):
    """Workers of the scheduler that DASK_SCHEDULER_ADDRESS names do the work."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((40, 4))
    np.savez("two.npz", x=x, y=(x[:, 0] > 0.5).astype(int))
    Path("s.toml").write_text(SWEEP)

    def sweep(*more: str) -> str:
        result = CliRunner().invoke(cli, ["sweep", "s.toml", "--json", *more])
        assert result.exit_code == 0, result.output
        return result.stdout

    here = sweep("--keep", "here")
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        asked = "--data=two.npz --hidden=3 --rule=pcn --seeds=2 --epochs=1 --pool=dask --json"
        result = CliRunner().invoke(cli, ["bench", "rules", *asked.split()])
        assert result.exit_code == 0, result.output
        assert '"rule": "pcn"' in result.stdout
        assert sweep("--pool", "dask", "--jobs=-1", "--keep", "there") == here
        assert {p.name for p in Path("there").iterdir()} == {p.name for p in Path("here").iterdir()}
        with open_pool(-1, "dask") as pool:
            (pid,) = pool([(os.getpid, ())])
        with distributed.Client(cluster) as client:
            assert pid in client.run(os.getpid).values()


@pytest.mark.filterwarnings("default")
def test_dask_workers_that_cannot_help(monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        with pytest.raises(ToolError, match="has no workers"), open_pool(-1, "dask"):
            pass
        monkeypatch.setattr("relaxon.parallel.find_spec", {}.get)
        cluster.scale(1)
        cluster.wait_for_workers(1)
        with pytest.raises(ToolError, match="workers without relaxon"), open_pool(-1, "dask"):
            pass


def test_pool_that_nobody_knows():
    with pytest.raises(ToolError, match="no backend 'nosuch'"), open_pool(2, "nosuch"):
        pass
