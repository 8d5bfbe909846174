"""Pools: this process, processes of this computer, a Dask cluster."""

import os
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
        result = CliRunner().invoke(
            cli,
            ["bench", "rules", "--rule=pcn", "--seeds=2", "--epochs=1", "--pool=dask", "--json"],
        )
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
