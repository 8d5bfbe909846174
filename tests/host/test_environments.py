"""A run made in one clean environment, repeated in another with a different numpy.

Two virtual environments with the base install alone; pip fetches what they need. The short form has
this environment, and the same with another numpy before it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.runs import KINDS, folder_of_data

ROOT = Path(__file__).parents[2]
OLD, NEW = "numpy==1.26.4", "numpy"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for numpy in (OLD, NEW):
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = (folder / "bin/python", "-m", "pip", "install", "-q")
        subprocess.run([*pip, numpy, ROOT], check=True)
        made[numpy] = folder
    return made


def relaxon(environment: Path, folder: Path, *words: object) -> subprocess.CompletedProcess:
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "80"}
    command = [environment / "bin/relaxon", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=False
    )


def version(environment: Path) -> str:
    command = [environment / "bin/python", "-c", "import numpy; print(numpy.__version__)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_under_an_old_numpy_is_identical_here(tmp_path: Path) -> None:
    old = tmp_path / "old"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", old, OLD)
    if subprocess.run(pip, check=False, capture_output=True).returncode:
        pytest.skip(f"pip cannot get {OLD} here")
    folder_of_data(tmp_path)

    def relaxon(*words: object, numpy: tuple[Path, ...] = ()) -> str:
        path = os.pathsep.join(map(str, (*numpy, *sys.path)))
        command = [sys.executable, "-m", "relaxon", *map(str, words)]
        env = {**os.environ, "PYTHONPATH": path, "RELAXON_ENGINE": "numpy"}
        return subprocess.run(
            command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True
        ).stdout

    asked = ("--backend", "golden", *KINDS["scaled csv"], "--record", "run.json")
    relaxon("train", *asked, numpy=(old,))
    versions = json.loads((tmp_path / "run.json").read_text())["versions"]
    assert versions["numpy"] == OLD.partition("==")[2] != np.__version__
    assert relaxon("reproduce", "run.json") == "identical\n"


@pytest.mark.long
@pytest.mark.parametrize(("here", "there"), [(OLD, NEW), (NEW, OLD)])
def test_runs_are_identical_under_another_numpy(
    environments: dict[str, Path], here: str, there: str, tmp_path: Path
) -> None:
    one, other = environments[here], environments[there]
    assert version(one) != version(other)
    folder_of_data(tmp_path)
    for kind, asked in KINDS.items():
        run = f"{kind}.json"
        done = relaxon(one, tmp_path, "train", "--backend", "golden", *asked, "--record", run)
        assert done.returncode == 0, f"{kind}: {done.stderr}"
        again = relaxon(other, tmp_path, "reproduce", run)
        assert (again.returncode, again.stdout) == (0, "identical\n"), f"{kind}: {again.stderr}"
