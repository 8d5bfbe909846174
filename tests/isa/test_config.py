"""The configuration refuses what cannot exist and is the same under the same name."""

import pytest

from relaxon_isa.config import ArrayConfig
from relaxon_isa.errors import ConfigError
from relaxon_isa.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p", 0),
        ("p", "four"),
        ("state_bits", 7),
        ("learn_shifts", (20, 14)),
        ("learn_shifts", (14, 40)),
        ("decay_shift", 15),
        ("dither_bits", 17),
        ("rx_bytes", 1000),
        ("levels", 8),
        ("pipeline", "medium"),
        ("pipeline", "short"),  # with two weight ports
        ("kind_counters", 1),
        ("drains", 1),
        ("sample_buffer", 15),
        ("sample_memory", True),  # without a sample buffer
    ],
)
def test_refusal_names_field_value_and_range(field, value):
    with pytest.raises(ConfigError, match=rf"^{field} = .* must be "):
        ArrayConfig(**{field: value})


def test_text_round_trips():
    for config in PRESETS.values():
        assert ArrayConfig.from_json(config.to_json()) == config


def test_from_json_refuses_other_fields():
    with pytest.raises(ConfigError, match="speed"):
        ArrayConfig.from_json(PRESETS["default"].to_json()[:-1] + ',"speed":1}')
    with pytest.raises(ConfigError):
        ArrayConfig.from_json("not json")


def test_widths_by_hand():
    # 16 + 16 bits, 1024 = 2**10 products; 2 * 16 bits, 16 = 2**4 terms.
    assert (preset("default").acc_bits, preset("default").learn_bits) == (42, 36)
    assert (preset("verify24").acc_bits, preset("up5k").learn_bits) == (58, 33)


def test_unknown_preset_lists_the_names():
    with pytest.raises(ConfigError, match="default, verify24"):
        preset("ice")


def test_capabilities_by_hand():
    small, whole = preset("up5k"), preset("default")
    assert small.features == () and whole.features == (
        *("random", "decay", "integral", "table"),
        *("selective repeat", "zero runs"),
    )
    assert [a.name for a in small.activations] == ["LINEAR", "CLIP01", "CLIP11", "RELU"]
    assert [s.name for s in small.signs] == ["PLUS", "MINUS"]
    assert small.learn_flags == ("replace", "diagonal", "bound", "hold")
    assert (len(whole.activations), len(whole.signs)) == (6, 3)
    assert whole.replace(decay_shift=0).learn_flags == (
        "stochastic", "replace", "diagonal", "bound", "hold", "integral"
    )  # fmt: skip


@pytest.mark.parametrize("field", ["drains", "prefetch", "sample_buffer"])
def test_what_needs_the_long_pipeline(field):
    value = 64 if field == "sample_buffer" else True
    assert getattr(preset("default").replace(**{field: value}), field) == value
    with pytest.raises(ConfigError, match=rf'^{field} = .* pipeline "short"'):
        preset("up5k").replace(**{field: value})
