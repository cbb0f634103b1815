"""The one exception of solves for an equilibrium."""


class EquilibriumError(RuntimeError):
    """There is no equilibrium, or it was not reached; the message says why and what to do.

    The model then holds the last good state.
    """


SINGULAR = (
    "the Jacobian of the year is singular: some part of the state is not determined by sources and "
    "sinks, nor by a conserved content; see whether mixing or flow reach all of the ocean"
)
