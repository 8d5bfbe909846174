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


@pytest.mark.parametrize(("more", "said"), [(1, "1 too late"), (-1, "1 too early")])
@pytest.mark.parametrize(("stage", "ends"), [("activated", "flag"), ("learn_acc", "last_write")])
def test_a_stage_too_many_or_too_few_is_named(stage, ends, more, said):
    at = getattr(Schedule, stage).fget
    changed = type("Changed", (Schedule,), {stage: property(lambda self: at(self) + more)})
    with pytest.raises(ConfigError, match=rf"Schedule\.{ends} = \d+: must be \d+.*{said}"):
        changed(preset("default")).check()
