"""Settings of the free surface that exclude each other."""

from __future__ import annotations

from dogcm.dynamics.implicit_surface import largest_f_dt
from dogcm.timestepping.schemes import SCHEMES


def check_free_surface(config) -> None:
    """Refuse what the implicit free surface cannot do.

    Raises:
        ValueError: which setting, and what to set instead.
    """
    t = config.time
    if t.free_surface != "implicit":
        return
    if config.grid.kind == "tripolar":
        raise ValueError(
            "time.free_surface implicit: its solver does not know the fold of a tripolar grid yet; "
            "use time.free_surface: split"
        )
    if t.barotropic_steps:
        raise ValueError(
            f"time.barotropic_steps {t.barotropic_steps} belongs to time.free_surface: split; an "
            f"implicit free surface "
            "takes no short steps: set it to 0"
        )
    if config.physics.coriolis.kind == "cd":
        return
    if SCHEMES[t.scheme].coriolis == "extrapolated":
        raise ValueError(
            f"time.scheme {t.scheme} leaves turning the depth-mean flow to short steps, which "
            f"time.free_surface: implicit "
            "does not take: use a forward_backward scheme, or physics.coriolis: cd"
        )
    turn, limit = (
        config.grid.largest_f() * (t.momentum_step or t.step),
        largest_f_dt(t.implicitness),
    )
    if turn > limit:
        raise ValueError(
            f"time.free_surface implicit with time.implicitness {t.implicitness:g} is stable up to "
            f"f dt = {limit:.2g}, and "
            f"here it reaches {turn:.2g}: shorten time.step (or time.momentum_step), bring "
            f"implicitness nearer to 1, or "
            "use physics.coriolis: cd"
        )
