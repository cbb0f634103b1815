"""The one exception of solves for an equilibrium."""


class EquilibriumError(RuntimeError):
    """There is no equilibrium, or it was not reached; the message says why and what to do.

    The model then holds the last good state.
    """
