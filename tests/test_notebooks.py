"""The notebooks run, from clean to the end, and are kept without outputs; the site is built from
docs/ without a warning."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("RELAXON_ENGINE", raising=False)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)
    if any("import torch" in cell.source for cell in code):
        pytest.importorskip("torch", reason="the extra torch is large, and not installed")
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()


def test_there_are_seven_and_a_page_lists_them():
    listed = (ROOT / "docs/notebooks.md").read_text()
    assert len(NOTEBOOKS) == 7 and all(f"`{path.name}`" in listed for path in NOTEBOOKS)


def test_site_without_warnings(tmp_path):
    """Links, headings that links name, docstrings of the reference; figures are there."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "reference/index.html").read_text()
    assert "relaxon.lab.Lab" in page and "free phase" in page.lower()
    assert (tmp_path / "readme/index.html").exists()
    assert (tmp_path / "figures/energy.svg").exists()
