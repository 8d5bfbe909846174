"""The page and the pictures of a run: what they are drawn from, and how a browser shows them."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from relaxon.cli import cli
from relaxon.lab import Lab
from relaxon.record import RunRecord
from relaxon.report.evidence import Evidence
from relaxon.report.pictures import PICTURES
from relaxon_isa import Register


def relaxon(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


def trained(folder: Path, layers: str, *options: object) -> Path:
    """A run's record, beside its checkpoint, run.npz, and its data."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0.1, 0.9, (3, 36))
    y = np.arange(150) % 3
    np.savez(folder / "data.npz", x=np.clip(centres[y] + rng.normal(0, 0.8, (150, 36)), 0, 1), y=y)
    files = ("--record", folder / "run.json", "--checkpoint", folder / "run.npz")
    asked = ("--data", folder / "data.npz", "--layers", layers, "--epochs", 2, *options)
    done = relaxon("train", "--backend", "golden", *asked, *files)
    assert done.exit_code == 0, done.output
    return folder / "run.json"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("dense"), "36,12,3", "--loss")


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("conv"), "6x6x1,4c4s2p1,3")


def evidence(record: Path, **more: Any) -> Evidence:
    return Evidence(RunRecord.load(record), record.with_suffix(".npz"), samples=10, **more)


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_energy_falls_with_every_sweep_of_the_machine(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = evidence(request.getfixturevalue(name))
    slack = 2.0**-7 if run.network.convolves else 1e-12  # which halves words, layer by layer
    for steps in run.settling.values():
        assert {step.phase for step in steps} == {"free", "plus", "minus"}
        for phase in ("free", "plus", "minus"):
            energies = [step.energy or 0.0 for step in steps if step.phase == phase]
            assert energies[0] > energies[-1] or phase != "free"
            assert all(b <= a + slack for a, b in pairwise(energies))


@pytest.mark.parametrize("name", ["dense", "conv"])
def test_phases_cut_short_end_where_whole_ones_do(
    name: str, request: pytest.FixtureRequest
) -> None:
    """States, sweeps and answers are those that the whole program comes to."""
    run = evidence(request.getfixturevalue(name))
    for number, steps in run.settling.items():
        with Lab.open("golden", run.network, run.settings.rule, run.config) as lab:
            lab.load_weights(run.integers, raw=True)
            lab.run(lab.rule.infer_program(), [run.sample(number)])
            free, sweeps = lab.states("free"), lab.counters()[Register.SWEEPS]
            nudged = lab.relax_nudged(run.compiled.targets_of(run.data.y_test[[number]])[0])
        ends = {step.phase: step for step in steps}
        assert ends["free"].sweep == sweeps
        for phase, states in {"free": free, **nudged}.items():
            assert all(map(np.array_equal, ends[phase].states, states))
        assert run.answers[number] == free[-1].argmax()
        if number < len(run.sweeps):
            assert run.sweeps[number] == sweeps


def test_every_picture_is_drawn_or_says_why_not(dense: Path, conv: Path, tmp_path: Path) -> None:
    for record, lacking in ((dense, {"maps"}), (conv, {"loss"})):
        for what in PICTURES:
            path = tmp_path / f"{record.parent.name}-{what}.svg"
            files = ("--weights", record.with_suffix(".npz"), "--output", path)
            said = relaxon("plot", record, "--what", what, "--samples", 5, *files)
            assert said.exit_code == (5 if what in lacking else 0), said.output
            assert path.exists() == (what not in lacking)


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<svg")]
)
def test_a_picture_in_each_format(dense: Path, tmp_path: Path, kind: str, begins: bytes) -> None:
    path = tmp_path / f"cycles.{kind}"
    assert relaxon("plot", dense, "--what", "cycles", "-o", path).exit_code == 0
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--what", "kernels", "-o", "a.svg"), 5, "--weights FILE"),
        (("--what", "kernels", "-o", "a.tex"), 5, ".svg, .png, .pdf"),
        (("--what", "energy", "-o", "a.svg", "--weights", "W", "--data", "no"), 5, "--data says"),
        (("--what", "states", "-o", "a.svg", "--weights", "W", "--sample", 99), 5, "0 to 29"),
        (("--what", "weights", "-o", "a.svg", "--weights", "OTHER"), 9, "--weights must be"),
        (("--what", "wrong", "-o", "a.svg", "--weights", "W", "--data", "iris"), 9, "digest"),
    ],
)
def test_what_is_lacking_is_said(
    dense: Path, conv: Path, tmp_path: Path, words: tuple, code: int, says: str
) -> None:
    files = {"W": dense.with_suffix(".npz"), "OTHER": conv.with_suffix(".npz"),
             "a.svg": tmp_path / "a.svg", "a.tex": tmp_path / "a.tex"}  # fmt: skip
    said = relaxon("plot", dense, *(files.get(word, word) for word in words))
    assert said.exit_code == code and says in said.output, said.output


def test_the_page_says_what_it_cannot_show(dense: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    said = relaxon("report", dense, "-o", page)
    assert said.exit_code == 0, said.output
    text = page.read_text()
    absent = text[text.index("Not shown</h2>") : text.index("</main>")]
    assert "Energy" in absent and "--weights FILE" in absent and "Cycles" not in absent


# In a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(dense: Path) -> Path:
    path = dense.with_name("report.html")
    said = relaxon("report", dense, "--weights", dense.with_suffix(".npz"), "-o", path)
    assert said.exit_code == 0, said.output
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if None in found:
        pytest.skip("no chromium with chromedriver on PATH (Debian: chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-component-update"
    for flag in f"{flags} disable-background-networking disable-sync disable-dev-shm-usage".split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=found[1])
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def opened(browser: Any, page: Path, theme: str, width: int) -> None:
    """The page, drawn; without a network, and with an error if it asks for one."""
    from selenium.webdriver.support.ui import WebDriverWait

    command = browser.execute_cdp_cmd
    command("Network.enable", {})
    command("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    command(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    scheme = {"name": "prefers-color-scheme", "value": theme}
    command("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 120).until(lambda b: b.execute_script(drawn) == theme)


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 360),
                                              ("dark", 360)])  # fmt: skip
def test_a_browser_shows_the_page(
    browser: Any, page: Path, tmp_path: Path, theme: str, width: int
) -> None:
    from PIL import Image

    opened(browser, page, theme, width)
    assert browser.get_log("browser") == []
    text = browser.execute_script("return document.body.innerText")
    for picture in (p for name, p in PICTURES.items() if name != "maps"):
        assert picture.title in text and picture.about in text
    assert "Not shown" in text and "convolutional" in text

    # Each chart is there, says what it shows, and fits.
    charts = browser.execute_script(
        "return [...document.querySelectorAll('[role=graphics-document]')].map(c => "
        "[c.getAttribute('aria-label'), c.querySelector('svg').getBoundingClientRect().right])"
    )
    assert len(charts) > 12 and all(label and right <= width for label, right in charts)
    wide = "return document.documentElement.scrollWidth"
    assert browser.execute_script(wide) <= width

    shot = tmp_path / f"{theme}-{width}.png"
    browser.save_screenshot(str(shot))
    pixels = np.asarray(Image.open(shot).convert("L"), dtype=float)
    assert pixels.std() > 5
    assert (np.median(pixels) < 64) == (theme == "dark")


def test_the_page_follows_the_theme_while_it_is_open(browser: Any, page: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, page, "light", 1280)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    drawn = "return document.documentElement.dataset.drawn"
    WebDriverWait(browser, 120).until(lambda b: b.execute_script(drawn) == "dark")
    assert browser.get_log("browser") == []


def test_a_hostile_name_stays_text(dense: Path, tmp_path: Path) -> None:
    """Names of data come from elsewhere: no markup in them."""
    run = json.loads(dense.read_text())
    run["spec"]["data"] = "</script><b>bold"
    (tmp_path / "run.json").write_text(json.dumps(run))
    page = tmp_path / "report.html"
    assert relaxon("report", tmp_path / "run.json", "-o", page).exit_code == 0
    assert "<b>bold" not in page.read_text()
