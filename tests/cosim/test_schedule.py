"""The schedule: what the stages take is what the contract's cycles promise."""

import pytest

from relaxon_hdl.schedule import Schedule
from relaxon_isa.errors import ConfigError
from relaxon_isa.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_machine_keeps_the_contract(name):
    config = preset(name)
    Schedule(config).check()
    Schedule(config.replace(p=1)).check()
    Schedule(config.replace(decay_shift=0, integral_shift=0)).check()


@pytest.mark.parametrize(("more", "said"), [(1, "1 too late"), (-2, "2 too early")])
@pytest.mark.parametrize("stage", ["flag", "last_write"])
def test_a_stage_too_many_or_too_few_is_named(stage, more, said):
    when = Schedule(preset("default"))
    setattr(when, stage, getattr(when, stage) + more)
    with pytest.raises(ConfigError, match=rf"Schedule\.{stage} = \d+: must be \d+.*{said}"):
        when.check()
