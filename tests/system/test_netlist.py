"""What synthesis makes of the machine does what the golden model does; all families by command."""

from netlist import TRIALS, netlist_differs


def test_the_netlist_of_the_days_family_trains_as_the_golden_model(day):
    family = day.choice(sorted(TRIALS))
    differing = netlist_differs(family, TRIALS[family], samples=12)
    assert not differing, (family, differing)
