"""Pools: this process, processes of this computer, a Dask cluster."""

import os

import pytest
from click.testing import CliRunner

from relaxon.cli import cli
from relaxon.parallel import open_pool
from relaxon_isa.errors import ToolError


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_pool_of_one_is_this_process():
    with open_pool(1) as pool:
        assert list(pool((where, (n,)) for n in range(3))) == [(n, os.getpid()) for n in range(3)]


def test_processes():
    with open_pool(2) as pool:
        done = list(pool((where, (n,)) for n in range(4)))
    assert sorted(n for n, _ in done) == [0, 1, 2, 3]
    assert os.getpid() not in {pid for _, pid in done}


@pytest.mark.filterwarnings("default")  # of Dask's own
def test_dask(monkeypatch):
    """The scheduler that DASK_SCHEDULER_ADDRESS names does the work; none there is an error."""
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
        with open_pool(-1, "dask") as pool:
            ((_, pid),) = pool([(where, (0,))])
        with distributed.Client(cluster) as client:
            assert pid in client.run(os.getpid).values()


def test_pool_that_nobody_knows():
    with pytest.raises(ToolError, match="no backend 'nosuch'"), open_pool(2, "nosuch"):
        pass
