"""The tiles of a nest as the sequencer issues them to the array, from the contract's text."""

from dataclasses import replace
from itertools import product

from relaxon_hdl.nest import issue_layout
from relaxon_isa.config import ArrayConfig
from relaxon_isa.instructions import Learn, Mac

STREAMS = {
    Mac: {"tile": "tile", "src": "src", "dst": "dst", "gate": "gate", "drive": "drive"},
    Learn: {"tile": "tile", "src": "col", "dst": "row"},
}
"""Which address of an instruction goes where."""


def levels_of(nest: Mac | Learn, listed: int = 1) -> tuple:
    """The levels of a nest, the outermost first; where it walks over lists, the last goes through
    as many rows, and the tile stands still."""
    levels = (*nest.outer, *nest.inner)
    if nest.walk:
        levels = (*levels[:-1], replace(levels[-1], count=listed, tile=0))
    return levels


def tokens(config: ArrayConfig, nest: Mac | Learn, index: list[int], listed: int = 1) -> list[dict]:
    """The tiles of a nest, in order. Of a walk without their sources, which are the sample's."""
    levels = levels_of(nest, listed)
    widths = {name: field.width for name, field in issue_layout(config)}
    found = []
    for trip in product(*(range(level.count) for level in levels)):
        inner = list(zip(trip, levels, strict=True))[len(nest.outer) :]
        token = {
            "first": int(not any(t for t, _ in inner)),
            "last": int(all(t == level.count - 1 for t, level in inner)),
            "flip": sum(v.flip and t % 2 for t, v in zip(trip, levels, strict=True)) % 2,
        }
        for stream, name in STREAMS[type(nest)].items():
            if nest.walk and stream == "src":
                continue
            address = getattr(nest, name) + index[getattr(nest, f"{name}_x")]
            moved = sum(t * getattr(v, name, 0) for t, v in zip(trip, levels, strict=True))
            token[stream] = (address + moved) % (1 << widths[stream])
        found.append(token)
    return found
