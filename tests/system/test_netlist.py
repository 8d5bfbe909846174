"""What synthesis makes of the machine does what the golden model does; more families by command."""

from netlist import FAMILIES, netlist_differs


def test_the_netlist_trains_as_the_golden_model():
    assert not netlist_differs("ice40", FAMILIES["ice40"], samples=30)
