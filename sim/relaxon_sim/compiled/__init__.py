"""The golden model compiled: the instruction set's loop nests as machine code, by numba.

Judged by the numpy model (`relaxon_sim.golden`), as the gateware is: same bits, same cycles.
"""
