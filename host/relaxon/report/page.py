"""One page that shows a run: pictures, figures, and what could not be shown."""

from collections.abc import Callable
from importlib import resources

import numpy as np

from relaxon_isa import DataError

from .evidence import Evidence
from .pictures import PICTURES, THEMES, need, page_config, whole

__all__ = ["page_of"]


def page_of(run: Evidence, drawn: Callable[[str], None] = lambda name: None) -> str:
    """The page as HTML that needs no other file. ``drawn`` is told of each picture."""
    jinja, convert = need("jinja2"), need("vl_convert")
    shown, absent, charts = [], [], []
    for name, picture in PICTURES.items():
        try:
            found = picture.draw(run)
        except DataError as error:
            absent.append((picture.title, str(error)))
        else:
            shown.append((name, picture, [*enumerate(found, start=len(charts))]))
            charts += [whole(chart) for chart in found]
        drawn(name)
    environment = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined
    )
    folder = resources.files("relaxon.report")
    return environment.from_string((folder / "page.html.j2").read_text()).render(
        run=run,
        figures=_figures(run),
        machine=run.record.machine,
        versions=run.record.versions,
        pictures=shown,
        absent=absent,
        charts=charts,
        themes=THEMES,
        configs={theme: page_config(theme) for theme in THEMES},
        # Inside a script element this would end it.
        bundle=convert.javascript_bundle().replace("</script", "<\\/script"),
    )


def _figures(run: Evidence) -> list[tuple[str, str]]:
    """What the page says first."""
    summary, history = run.summary, run.record.history
    test = (history[-1].get("test") or {}) if history else {}
    figures = [
        (f"test {k}", f"{v:.2%}" if k == "accuracy" else f"{v:.4g}") for k, v in test.items()
    ]
    events = summary["state_saturations"] + summary["weight_saturations"]
    return [
        *figures,
        ("epochs", str(len(history))),
        ("sweeps a sample", f"{summary['sweeps_per_sample']:.1f}"),
        ("cycles a sample", f"{summary['cycles_per_sample']:,.0f}"),
        ("weights", f"{sum(int(np.prod(shape)) for shape in run.network.shapes):,}"),
        ("saturations in training", f"{events:,}"),
    ]
