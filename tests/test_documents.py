"""The Python examples of the documentation run, in the order in which they stand."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from relaxon.cli import cli

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["README.md", "docs/python.md", "docs/seeing.md", "docs/data.md", "docs/torch.md"]
)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / name).read_text(), re.DOTALL | re.M)
    assert blocks
    if name == "docs/torch.md":
        pytest.importorskip("torch", reason="the extra torch is large, and not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)


@pytest.mark.parametrize(
    ("page", "commands", "backend"),
    [
        ("tutorial.md", 3, "golden"),
        ("machines.md", 3, "golden"),
        ("data.md", 3, "golden"),
        ("data.md", 3, "virtual"),
    ],
)
def test_page_runs(
    page: str, commands: int, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page on golden, or on another backend in its place, from start to end: a block that begins
    with "# name.py" or "# name.toml" becomes that file, other Python runs, commands run (into a
    file after ">") and print the lines that stand below them."""
    text = (ROOT / "docs" / page).read_text()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    blocks = re.findall(r"^```(python|toml|console)\n(.*?)^```$", text, re.DOTALL | re.M)
    for kind, block in blocks:
        file = re.match(r"# (\w+\.(?:py|toml))\n", block)
        if kind == "console":
            for part in block.split("$ relaxon ")[1:]:
                command, *lines = part.rstrip().split("\n")
                command, _, into = command.partition(" > ")
                command = command.replace("--backend golden", f"--backend {backend}")
                said = CliRunner().invoke(cli, command.split())
                assert said.exit_code == 0, said.output
                assert all(line in said.output for line in lines), said.output
                if into:
                    Path(into).write_text(said.stdout)
                ran += 1
        elif file:
            Path(file[1]).write_text(block)
        elif kind == "python":
            exec(block, names)
    assert ran == commands
    if page == "data.md":
        answers = Path("answers.csv").read_text().split("\n")
        assert [line[:7] for line in answers] == ["sample,", "0,aster", "1,rose,", ""]
        assert "aster" in Path("report.html").read_text()


def test_the_citation_is_of_this_version() -> None:
    said = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said and said[1] == project["version"]
