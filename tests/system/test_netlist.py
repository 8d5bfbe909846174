"""What synthesis makes of the machine does what the golden model does; more families by command."""

from netlist import TRIALS, netlist_differs


def test_the_netlist_trains_as_the_golden_model():
    assert not netlist_differs("ice40", TRIALS["ice40"], samples=20)
