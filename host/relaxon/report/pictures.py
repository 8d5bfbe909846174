"""Pictures of a run as Vega-Lite charts: on the page, and as files.

A picture is one chart or several side by side. Charts whose width follows the page have none of
their own; those of tiles (kernels, feature maps, images) are as wide as their tiles. Tiles are
colours of one tone and their transparency, so they look the same on light and on dark ground.
"""

import base64
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from relaxon_isa import DataError, ToolError, install

from ..network import Conv
from .evidence import Evidence

__all__ = ["PICTURES", "THEMES", "Chart", "Picture", "file_of", "need", "page_config", "whole"]

PLUS, MINUS = (47, 111, 183), (221, 122, 38)
"""Colours of positive and negative numbers in tiles."""
TILE, GAP = 48, 8
LINES = 40
"""Neurons of a layer that are drawn."""
FIELDS = 40
CHANNELS, COLUMNS = 12, 10
PAIR = "channel", "channel below"
MANY_CLASSES = 20

Theme = Literal["light", "dark"]
THEMES: dict[Theme, dict] = {
    "light": {
        "ink": "#1f2933",
        "quiet": "#5b6773",
        "grid": "#e4e8ec",
        "ground": "#ffffff",
        "category": ["#2f6fb7", "#d9731a", "#1f8f7f", "#b0406b", "#6f63ad", "#7b8794"],
    },
    "dark": {
        "ink": "#e6eaee",
        "quiet": "#a3afba",
        "grid": "#333c46",
        "ground": "#1b2127",
        "category": ["#7fb4ee", "#f0a95c", "#63cdbc", "#ea92b6", "#b9aef0", "#a9b4bf"],
    },
}


@dataclass(frozen=True)
class Chart:
    """A chart.

    Members
    -------
    spec
        Vega-Lite, without schema, width and theme.
    said
        What is to be seen, for who does not see it.
    title
        Above it, where a picture has several charts.
    table
        Its numbers, a head and rows, where they are few.
    """

    spec: dict
    said: str
    title: str = ""
    table: tuple[Sequence[str], Sequence[Sequence[object]]] | None = None


@dataclass(frozen=True)
class Picture:
    """What `relaxon plot --what` names: title, what it means in a sentence, and what draws it."""

    title: str
    about: str
    draw: Callable[[Evidence], list[Chart]]


# From the record -------------------------------------------------------------------------------


def _accuracy(run: Evidence) -> list[Chart]:
    curves = [
        {"epoch": entry["epoch"], "samples": name, "value": value}
        for entry in run.record.history
        for name, value in (
            ("while training", entry.get("online_accuracy")),
            ("test", (entry.get("test") or {}).get("accuracy")),
        )
        if value is not None
    ]
    if not curves:
        raise DataError("only runs with classes have it: this one had real-valued targets")
    last = {row["samples"]: row["value"] for row in curves}
    said = ", ".join(f"{name} {value:.2%}" for name, value in last.items())
    return [_curves(curves, "accuracy", "%", f"Accuracy by epoch; in the last: {said}.")]


def _loss(run: Evidence) -> list[Chart]:
    curves = [
        {"epoch": entry["epoch"], "samples": "test", "value": entry["test"]["mse"]}
        for entry in run.record.history
        if "mse" in (entry.get("test") or {})
    ]
    if not curves:
        raise DataError("needs losses in the record: train with --loss")
    said = f"Loss by epoch, from {curves[0]['value']:.4f} to {curves[-1]['value']:.4f}."
    return [_curves(curves, "mean squared error", ".3~g", said)]


def _curves(rows: list[dict], title: str, form: str, said: str) -> Chart:
    names = list(dict.fromkeys(row["samples"] for row in rows))
    spec = {
        "data": {"values": rows},
        "height": 220,
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": _count("epoch", max(row["epoch"] for row in rows)),
            "y": _axis("value", title, format=form) | {"scale": {"zero": False}},
            "color": _color("samples", names),
            "tooltip": [{"field": name} for name in ("epoch", "samples", "value")],
        },
    }
    by_epoch: dict[int, dict] = {}
    for row in rows:
        by_epoch.setdefault(row["epoch"], {})[row["samples"]] = row["value"]
    table = [
        (epoch, *(f"{v[n]:.4f}" if n in v else "" for n in names)) for epoch, v in by_epoch.items()
    ]
    return Chart(spec, said, table=(("epoch", *names), table))


def _cycles(run: Evidence) -> list[Chart]:
    kinds = run.summary["cycles_by_kind"]
    rows = [{"kind": kind, "cycles": round(value, 1)} for kind, value in kinds.items()]
    spec = {
        "data": {"values": rows},
        "height": 30 * len(rows),
        "encoding": {"y": _names("kind"), "x": _axis("cycles", "cycles a training sample")},
        "layer": [
            {"mark": {"type": "bar", "cornerRadiusEnd": 3}},
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {"text": {"field": "cycles", "format": ",.0f"}},
            },
        ],
    }
    said = ", ".join(f"{kind} {value:,.0f}" for kind, value in kinds.items())
    said = f"Cycles a training sample: {run.summary['cycles_per_sample']:,.0f}, of which {said}."
    return [Chart(spec, said, table=(("kind", "cycles a sample"), [*_rows(rows)]))]


# From the weights ------------------------------------------------------------------------------


def _weights(run: Evidence) -> list[Chart]:
    charts, frac = [], run.compiled.formats.weight_frac
    limit = 1 << run.config.weight_bits - 1
    for i, w in enumerate(run.integers, start=1):
        name = f"layer {i}" if i <= run.network.depth else f"weights {i}"
        values, stuck = w / 2**frac, int(((w == -limit) | (w == limit - 1)).sum())
        counts, edges = np.histogram(values, bins=41)
        bound, share = limit / 2**frac, f"{stuck:,} of {w.size:,}"
        rows = [
            {"from": _short(a), "to": _short(b), "weights": int(n)}
            for a, b, n in zip(edges, edges[1:], counts, strict=False)
        ]
        spec = {
            "data": {"values": rows},
            "height": 150,
            "mark": {"type": "bar", "binSpacing": 1},
            "encoding": {
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "bin": "binned",
                    "title": f"weight (the format ends at ±{bound:g})",
                    "axis": {"format": "~g"},
                },
                "x2": {"field": "to"},
                "y": _axis("weights"),
                "tooltip": [{"field": n} for n in ("from", "to", "weights")],
            },
        }
        said = (
            f"Weights of {name}: {values.min():.2f} to {values.max():.2f}, standard deviation "
            f"{values.std():.3f}; {share} at the format's bounds."
        )
        charts.append(Chart(spec, said, f"{name}: {share} saturated"))
    return charts


def _kernels(run: Evidence) -> list[Chart]:
    charts = []
    for i, (w, kernel, below) in enumerate(
        zip(run.weights, run.network.kernels, run.network.maps, strict=False), start=1
    ):
        layer = run.network.layers[i]
        windows = w[:, :-1].reshape(len(w), kernel.height, kernel.width, below.channels)
        if isinstance(layer, Conv):
            title = f"layer {i}: {len(w)} kernels of {kernel.height} x {kernel.width}"
            charts.append(_windows(windows, title, "channel"))
        elif i == 1:
            if run.image:
                windows = w[:, :-1].reshape(len(w), *run.image)
            charts.append(_fields(windows, f"layer 1: what drives its {len(w)} neurons"))
    if not charts:
        raise DataError("needs a first layer that sees the input")
    return charts


def _fields(windows: np.ndarray, title: str) -> Chart:
    """Windows of neurons; of an input that is no image, a matrix."""
    count, high, wide, channels = windows.shape
    if high * wide > 1:
        return _windows(windows, title, "neuron")
    rows = windows.reshape(count, channels)[:LINES]
    top = float(np.abs(rows).max()) or 1.0
    values = [
        {"neuron": r + 1, "input": c + 1, "weight": _short(v)}
        for r, row in enumerate(rows)
        for c, v in enumerate(row[: 2 * LINES])
    ]
    spec = {
        "data": {"values": values},
        "height": 14 * len(rows),
        "mark": "rect",
        "encoding": {
            "x": {"field": "input", "type": "ordinal", "axis": {"labelAngle": 0}},
            "y": {"field": "neuron", "type": "ordinal"},
            "color": {
                "field": "weight",
                "type": "quantitative",
                "scale": {"scheme": "blueorange", "domain": [top, -top]},
            },
            "tooltip": [{"field": n} for n in ("neuron", "input", "weight")],
        },
    }
    return Chart(spec, f"Weights from each input to each of {len(rows)} neurons.", title)


def _windows(windows: np.ndarray, title: str, what: str) -> Chart:
    """Tiles of windows (above, height, width, below); several channels below are rows."""
    count, *_, below = windows.shape
    top = np.abs(windows).max() or 1.0
    if below == 1:
        order = np.argsort(-np.abs(windows).sum(axis=(1, 2, 3)), kind="stable")[:FIELDS]
        tiles = [
            (k % 8, k // 8, windows[n, ..., 0] / top, f"{what} {n + 1}")
            for k, n in enumerate(sorted(order))
        ]
        some = f", the {FIELDS} with the largest weights" if count > FIELDS else ""
        return _tiles(tiles, f"Weights as images, one a {what}{some}.", title + some)
    tiles = [
        (a + 1, b + 1, windows[a, ..., b] / top, f"{what} {a + 1}, from {b + 1}")
        for a in range(min(count, COLUMNS))
        for b in range(min(below, CHANNELS))
    ]
    rest = count > COLUMNS or below > CHANNELS
    title += ", the first of them" * rest
    return _tiles(tiles, "Weights as images, one a pair of channels.", title, PAIR, 30)


# How it settles --------------------------------------------------------------------------------


def _energy(run: Evidence) -> list[Chart]:
    charts = []
    for number, steps in run.settling.items():
        ends = {s.phase: s.energy for s in steps}
        if None in ends.values():
            raise DataError(
                f"no energy is known of rule {run.settings.rule.name} with architecture "
                f"{run.settings.rule.architecture} in a network of this size"
            )
        rows = [
            {
                "sweep": s.sweep,
                "phase": s.phase,
                "energy": _short(s.energy or 0, 7),
                "above": _short((s.energy or 0) - (ends[s.phase] or 0)),
            }
            for s in steps
        ]
        spec = {
            "data": {"values": [row for row in rows if row["above"] > 0]},
            "height": 200,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": _count("sweep", steps[-1].sweep),
                "y": _axis("above", "energy above the phase's end", format="~e", tickCount=5)
                | {"scale": {"type": "log"}},
                "color": _color("phase", list(ends)),
                "tooltip": [{"field": n} for n in ("sweep", "phase", "energy", "above")],
            },
        }
        free = [row["energy"] for row in rows if row["phase"] == "free"]
        said = f"The free phase's energy falls from {free[0]:g} to {free[-1]:g} in {len(free) - 1} "
        table = [(row["sweep"], row["phase"], row["energy"]) for row in rows]
        head = ("sweep", "phase", "energy")
        charts.append(Chart(spec, f"{said}sweeps.", _label(run, number), (head, table)))
    return charts


def _states(run: Evidence) -> list[Chart]:
    charts = []
    for number, steps in run.settling.items():
        free = [s for s in steps if s.phase == "free"]
        for layer, size in enumerate(map(len, free[0].states), start=1):
            drawn = np.unique(np.linspace(0, size - 1, min(size, LINES)).astype(int))
            rows = [
                {
                    "sweep": s.sweep,
                    "neuron": int(n) + 1,
                    "state": _short(float(s.states[layer - 1][n])),
                }
                for s in free
                for n in drawn
            ]
            spec = {
                "data": {"values": rows},
                "height": 150,
                "mark": {"type": "line", "opacity": 0.55, "strokeWidth": 1.2},
                "encoding": {
                    "x": _count("sweep", free[-1].sweep),
                    "y": _axis("state"),
                    "detail": {"field": "neuron"},
                    "tooltip": [{"field": n} for n in ("sweep", "neuron", "state")],
                },
            }
            said = f"{len(drawn)} of {size} states of layer {layer} over {len(free) - 1} sweeps."
            charts.append(Chart(spec, said, f"{_label(run, number)}: layer {layer}"))
    return charts


def _maps(run: Evidence) -> list[Chart]:
    layers = [i for i, layer in enumerate(run.network.layers) if isinstance(layer, Conv)]
    if not layers:
        raise DataError("only convolutional networks have them: this one has plain layers")
    charts = []
    for number, steps in list(run.settling.items())[:2]:
        free = [s for s in steps if s.phase == "free"][1 : COLUMNS + 1]
        for layer in layers:
            shape = run.network.maps[layer]
            maps = [s.states[layer - 1].reshape(shape.height, shape.width, -1) for s in free]
            tiles = [
                (s.sweep, c + 1, m[..., c], f"channel {c + 1} after sweep {s.sweep}")
                for s, m in zip(free, maps, strict=True)
                for c in range(min(shape.channels, CHANNELS))
            ]
            said = f"Feature maps of layer {layer}, channel by channel, after each sweep."
            title = f"{_label(run, number)}: layer {layer}"
            charts.append(_tiles(tiles, said, title, ("sweep", "channel"), 36))
    return charts


def _sweeps(run: Evidence) -> list[Chart]:
    counts = np.bincount(run.sweeps)
    rows = [{"sweeps": i, "samples": int(n)} for i, n in enumerate(counts) if n]
    spec = {
        "data": {"values": rows},
        "height": 220,
        "mark": {"type": "bar", "cornerRadiusEnd": 3},
        "encoding": {
            "x": {
                "field": "sweeps",
                "type": "ordinal",
                "title": "sweeps of the free phase",
                "axis": {"labelAngle": 0},
            },
            "y": _axis("samples"),
            "tooltip": [{"field": "sweeps"}, {"field": "samples"}],
        },
    }
    said = (
        f"Free sweeps of {len(run.sweeps)} test samples: median {np.median(run.sweeps):g}, most "
        f"{run.sweeps.max()}."
    )
    return [Chart(spec, said, table=(("sweeps", "samples"), [*_rows(rows)]))]


# What it answers -------------------------------------------------------------------------------


def _confusion(run: Evidence) -> list[Chart]:
    data = run.labelled
    counts = np.zeros((data.outputs, data.outputs), dtype=int)
    np.add.at(counts, (data.y_test, run.answers), 1)
    names = [str(n) for n in data.named(np.arange(data.outputs))]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    rows = [
        {"is": names[r], "said": names[c], "samples": int(counts[r, c]), "share": _short(share)}
        for (r, c), share in np.ndenumerate(shares)
    ]
    cells = {
        "mark": "rect",
        "encoding": {
            "opacity": {
                "field": "share",
                "type": "quantitative",
                "scale": {"type": "sqrt", "domain": [0, 1], "range": [0, 0.6]},
                "legend": None,
            },
            "tooltip": [{"field": n} for n in ("is", "said", "samples")],
        },
    }
    text = {
        "transform": [{"filter": "datum.samples > 0"}],
        "mark": {"type": "text", "fontSize": 11},
        "encoding": {"text": {"field": "samples"}},
    }
    spec = {
        "data": {"values": rows},
        "height": (26 if len(names) <= MANY_CLASSES else 12) * len(names),
        "encoding": {
            "x": _names("said", "answer", names) | {"axis": {"labelAngle": 0, "orient": "top"}},
            "y": _names("is", "label", names),
        },
        "layer": [cells, text] if len(names) <= MANY_CLASSES else [cells],
    }
    right = int(np.trace(counts))
    share = f"{right / counts.sum():.2%}"
    said = f"{right:,} of {counts.sum():,} test samples are answered rightly, {share}."
    table = [(name, *map(int, row)) for name, row in zip(names, counts, strict=True)]
    return [Chart(spec, said, table=(("label \\ answer", *names), table))]


def _wrong(run: Evidence) -> list[Chart]:
    data, found = run.labelled, run.wrong
    if not len(found):
        raise DataError("every test sample is answered rightly")
    names, margin = data.named(np.arange(data.outputs)), run.outputs.max(axis=1)
    rows = [
        (int(n), names[data.y_test[n]], names[run.answers[n]], f"{margin[n]:.3f}")
        for n in found[:FIELDS]
    ]
    head = ("sample", "label", "answer", "highest output")
    said = f"{len(found):,} of {len(data.x_test):,} test samples are answered wrongly."
    some = f"{said} The first {len(rows)}, as label → answer."
    if not run.image:
        bars = [{"label": str(a), "wrong answers": int((data.y_test[found] == i).sum())}
                for i, a in enumerate(names)]  # fmt: skip
        spec = {
            "data": {"values": bars},
            "height": 26 * len(bars),
            "mark": {"type": "bar", "cornerRadiusEnd": 3},
            "encoding": {"y": _names("label"), "x": _axis("wrong answers", tickMinStep=1)},
        }
        return [Chart(spec, said, table=(head, rows))]
    tiles = [
        (k % 8, k // 8, _image(run, n), f"{label} → {answer}")
        for k, (n, label, answer, _) in enumerate(rows)
    ]
    return [Chart(_tiles(tiles, some, labels=True).spec, some, table=(head, rows))]


def _image(run: Evidence, number: int) -> np.ndarray:
    high, wide, channels = run.image or (1, 1, 1)
    x = run.data.x_test[number].reshape(high, wide, channels)
    return x if channels == 3 else x[..., 0]


def _label(run: Evidence, number: int) -> str:
    """A test sample by number, label and answer."""
    if run.data.classes is None:
        return f"sample {number}"
    label, answer = run.data.named(np.array([run.data.y_test[number], run.answers[number]]))
    return f"sample {number}, label {label}" + (f", answer {answer}" if label != answer else "")


PICTURES = {
    "accuracy": Picture("Accuracy", "Share of right answers by epoch.", _accuracy),
    "loss": Picture("Loss", "Mean squared error of the test outputs by epoch.", _loss),
    "energy": Picture(
        "Energy",
        "Learning by settling: each sweep lowers the energy that a phase minimises, first freely, "
        "then with the outputs nudged towards the right answer (plus) and away from it (minus).",
        _energy,
    ),
    "states": Picture(
        "States, layer by layer",
        "One line a neuron: its state after each sweep of the free phase.",
        _states,
    ),
    "maps": Picture(
        "Feature maps",
        "States of convolutional layers after each sweep of the free phase; 0 is transparent.",
        _maps,
    ),
    "sweeps": Picture("Sweeps", "How long the free phase takes to settle.", _sweeps),
    "kernels": Picture(
        "Receptive fields and kernels",
        "Weights as images: positive blue, negative orange, 0 transparent.",
        _kernels,
    ),
    "weights": Picture(
        "Weights",
        "Their distribution, layer by layer, and how many sit at the bounds of their format.",
        _weights,
    ),
    "cycles": Picture("Cycles", "What the machine does in a training sample.", _cycles),
    "confusion": Picture("Confusion", "Test samples by label and answer.", _confusion),
    "wrong": Picture("Wrong answers", "Test samples that are taken for something else.", _wrong),
}


# Charts ----------------------------------------------------------------------------------------


def _short(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def _rows(rows: Iterable[dict]) -> Iterable[tuple]:
    return (tuple(row.values()) for row in rows)


def _axis(field: str, title: str | None = None, **axis: object) -> dict:
    return {"field": field, "type": "quantitative", "title": title or field, "axis": axis}


def _count(field: str, last: int) -> dict:
    """An axis of whole numbers, with at most ten of them."""
    ticks = [*range(0, last + 1, max(1, -(-last // 10)))]
    return _axis(field, values=ticks, format="d") | {"scale": {"nice": False, "zero": False}}


def _names(field: str, title: str | None = None, order: list | None = None) -> dict:
    return {"field": field, "type": "ordinal", "sort": order, "title": title}


def _color(field: str, order: list[str]) -> dict:
    legend = {"orient": "top", "title": None} if len(order) > 1 else None
    return {"field": field, "type": "nominal", "sort": order, "legend": legend}


def _tiles(
    tiles: Sequence[tuple[int, int, np.ndarray, str]],
    said: str,
    title: str = "",
    axes: tuple[str, str] | None = None,
    size: int = TILE,
    labels: bool = False,
) -> Chart:
    """Column, row, values -1 to 1 (height, width) or colours 0 to 1 (height, width, 3), text."""
    rows = [
        {"column": c, "row": r, "image": _png(values, size), "text": text}
        for c, r, values, text in tiles
    ]
    names = axes or (None, None)
    axis = None if axes is None else {"labelAngle": 0}
    image = {"mark": {"type": "image", "width": size, "height": size},
             "encoding": {"url": {"field": "image"}, "tooltip": {"field": "text"}}}  # fmt: skip
    text = {"mark": {"type": "text", "dy": size / 2 + 8, "fontSize": 11},
            "encoding": {"text": {"field": "text"}}}  # fmt: skip
    spec = {
        "data": {"values": rows},
        "width": {"step": size + GAP},
        "height": {"step": size + (22 if labels else GAP)},
        "encoding": {
            "x": {"field": "column", "type": "ordinal", "title": names[0], "axis": axis},
            "y": {"field": "row", "type": "ordinal", "title": names[1], "axis": axis},
        },
        "layer": [image, text] if labels else [image],
    }
    return Chart(spec, said, title)


def _png(values: np.ndarray, size: int) -> str:
    """A tile as a data URI, each value as square as the tile allows."""
    image = need("PIL.Image")
    if values.ndim == 3:
        shades = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    else:
        tone = np.where(values[..., None] < 0, MINUS, PLUS)
        alpha = np.rint(np.clip(np.abs(values), 0, 1) * 255)[..., None]
        shades = np.concatenate([tone, alpha], axis=2).astype(np.uint8)
    times = max(1, -(-2 * size // max(shades.shape[:2])))  # twice the tile, for fine screens
    shades = shades.repeat(times, axis=0).repeat(times, axis=1)
    file = io.BytesIO()
    image.fromarray(shades).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def page_config(theme: Theme) -> dict:
    """Vega-Lite's configuration of a theme."""
    tones = THEMES[theme]
    text = {"labelColor": tones["quiet"], "titleColor": tones["quiet"], "titleFontWeight": "normal"}
    return {
        "background": None,
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            **text,
            "grid": True,
            "gridColor": tones["grid"],
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "titlePadding": 8,
            "labelFontSize": 11,
            "titleFontSize": 12,
        },
        "axisBand": {"grid": False},
        "legend": {**text, "labelFontSize": 12, "symbolStrokeWidth": 2},
        "title": {"color": tones["ink"], "fontWeight": 600, "anchor": "start", "fontSize": 13},
        "mark": {"color": tones["category"][0]},
        "text": {"color": tones["ink"]},
        "line": {"strokeWidth": 2},
        "range": {"category": tones["category"]},
    }


FLUID = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def whole(chart: Chart, **more: Any) -> dict:
    """A chart as Vega-Lite with its text."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": chart.said,
        "width": "container",
        "autosize": {
            "type": "fit-x" if "width" not in chart.spec else "pad",
            "contains": "padding",
        },
        **chart.spec,
        **more,
    }


def need(module: str) -> Any:
    """A module of the extra ``report``. Raises ToolError if it is not installed."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ToolError(f"drawing needs {error.name}: {install('report')}") from error


KINDS = ("svg", "png", "pdf")


def file_of(charts: Sequence[Chart], kind: str, theme: Theme = "light", width: int = 360) -> bytes:
    """Charts side by side as the content of an SVG, PNG or PDF file. ``width``: of each, in
    pixels, where tiles do not give it."""
    wide = {"width": width if len(charts) > 1 else round(1.5 * width)}
    parts = [
        {**wide, **chart.spec, "title": chart.title or None} for chart in charts
    ]  # each with its own scales
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": " ".join(chart.said for chart in charts),
        "concat": parts,
        "columns": 3,
        "spacing": 28,
        "resolve": {"scale": {"color": "independent"}},
    }
    config = page_config(theme) | {"background": THEMES[theme]["ground"], "padding": 12}
    convert = need("vl_convert")
    draw = getattr(convert, f"vegalite_to_{kind}")
    more = {"scale": 2} if kind == "png" else {}
    made = draw(json.dumps(spec), config=config, **more)
    return made.encode() if isinstance(made, str) else made
