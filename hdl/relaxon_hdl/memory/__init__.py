"""Memory outside the FPGA."""
