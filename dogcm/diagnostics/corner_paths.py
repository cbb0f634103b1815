"""Lines of cell faces on grids whose lines are no parallels and meridians.

Corners of cells are the nodes of a graph and faces its edges. A section takes the shortest way from
the corner nearest to one point to that nearest to the next, where going astray from the straight
line in longitude and latitude makes a face longer. Across a north fold the graph is closed as the
grid is (see :mod:`dogcm.decomp.fold`).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from dogcm.grid.curvilinear import Curvilinear, unit
from dogcm.io.regrid import nearest

Face = tuple[str, int, int, int]
# Farther from the line than so many of the longest faces there, no corner is looked at.
_REACH = 6.0
# Points of a straight line that stand for it.
_SAMPLES = 400


class Corners:
    """The corners of a curvilinear grid as a graph.

    Attributes:
        place: (nodes, 3), on the unit sphere. longest: (nodes,) of the faces that meet there.
    """

    def __init__(self, horizontal: Curvilinear):
        ny, nx = horizontal.shape
        self._shape = ny, nx
        self._columns = nx if horizontal.periodic_x else nx + 1
        self._rows = ny if horizontal.north_fold else ny + 1
        j, i = np.arange(float(self._rows))[:, None], np.arange(float(self._columns))[None, :]
        self.place = unit(*horizontal.positions(j, i)[:2]).reshape(-1, 3)
        edges = np.concatenate([self._along_rows(), self._along_columns(horizontal)], axis=1)
        self._edges = edges.astype(np.int32)
        a, b = self._edges[:2]
        self._length = np.linalg.norm(self.place[a] - self.place[b], axis=1)
        self.longest = np.zeros(len(self.place))
        for end in (a, b):
            np.maximum.at(self.longest, end, self._length)

    def _node(self, j, i):
        return j * self._columns + np.mod(i, self._columns)

    def _along_rows(self) -> np.ndarray:
        """South faces: first and second node, which face, row, column; (5, faces)."""
        j, i = np.mgrid[: self._rows, : self._shape[1]].reshape(2, -1)
        return np.stack([self._node(j, i), self._node(j, i + 1), 0 * j, j, i])

    def _along_columns(self, horizontal) -> np.ndarray:
        """West faces, from north to south, as :meth:`_along_rows`."""
        ny, nx = self._shape
        j, i = np.mgrid[: self._rows - 1, : self._columns].reshape(2, -1)
        found = np.stack([self._node(j + 1, i), self._node(j, i), 0 * j + 1, j, i])
        if not horizontal.north_fold:
            return found
        # Of the faces on the fold those that are not copies; the pivots have no length.
        i = np.arange(1, nx // 2)
        j = np.full_like(i, ny - 1)
        over = np.stack([self._node(j, nx - i), self._node(j, i), 0 * j + 1, j, i])
        return np.concatenate([found, over], axis=1)

    def nearest(self, lon: float, lat: float) -> tuple[int, bool]:
        """The corner nearest to a point, and whether the point lies within a face of the grid."""
        target = unit(lat, lon)
        node = int((self.place @ target).argmax())
        return node, bool(np.linalg.norm(self.place[node] - target) <= self.longest[node])

    def path(self, start: int, end: int, lon: np.ndarray, lat: np.ndarray) -> list[Face] | None:
        """Faces from one node to another, close to a line of points; None: there is no way.

        Returns:
            (``u`` or ``v``, row, column, sign): +1 where growing x or y crosses to the left.
        """
        away = self._away(unit(lat, lon))
        a, b = self._edges[:2]
        use = np.isfinite(away[a]) & np.isfinite(away[b])
        edges, length = self._edges[:, use], self._length[use]
        astray = 0.5 * (away[edges[0]] + away[edges[1]])
        cost = length * (1.0 + astray**2) + 1e-12
        count = len(self.place)
        graph = sparse.coo_array((cost, (edges[0], edges[1])), (count, count)).tocsr()
        _, before = csgraph.dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        nodes = [end]
        while nodes[-1] != start:
            if before[nodes[-1]] < 0:
                return None
            nodes.append(int(before[nodes[-1]]))
        known = {(int(p), int(q)): k for k, (p, q) in enumerate(zip(edges[0], edges[1]))}
        faces = []
        for p, q in zip(nodes[::-1], nodes[::-1][1:]):
            k, sign = (known[p, q], 1) if (p, q) in known else (known[q, p], -1)
            _, _, kind, j, i = (int(n) for n in edges[:, k])
            faces.append(("vu"[kind], j, i, sign))
        return faces

    def _away(self, line: np.ndarray) -> np.ndarray:
        """Distance of nodes from a line in units of their longest face, inf beyond reach."""
        out = np.full(len(self.place), np.inf)
        middle = line[len(line) // 2]
        extent = np.linalg.norm(line - middle, axis=1).max()
        around = np.linalg.norm(self.place - middle, axis=1)
        near = np.flatnonzero(around <= extent + _REACH * self.longest)
        distance, _ = nearest(line).query(self.place[near])
        # Between two of the line's points it is at most half a gap nearer than to one of them.
        gap = np.linalg.norm(np.diff(line, axis=0), axis=1).max(initial=0.0)
        scaled = np.maximum(distance - 0.5 * gap, 0.0) / self.longest[near]
        out[near] = np.where(scaled <= _REACH, scaled, np.inf)
        return out


def straight(a: tuple[float, float], b: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of the straight line between two points, the shorter way round."""
    # Exactly half way round counts as eastward.
    east = (b[0] - a[0]) % 360.0
    part = np.linspace(0.0, 1.0, _SAMPLES)
    return a[0] + part * (east if east <= 180.0 else east - 360.0), a[1] + part * (b[1] - a[1])


__all__ = ["Corners", "Face", "straight"]
