"""Who talks to whom where there is no server: a graph for each round, and the matrix by which neighbours average.

>>> ring = make("ring", 8)
>>> ring.mixing(0).toarray()[0].round(3)
array([0.333, 0.333, 0.   , 0.   , 0.   , 0.   , 0.   , 0.333])
>>> round(contraction(ring), 3)
0.805
"""

from fedbbpt.topology.graphs import NAMES, Topology, make
from fedbbpt.topology.spectrum import contraction

__all__ = ["NAMES", "Topology", "contraction", "make"]
