"""``dogcm show EXPERIMENT --messages``: what a step and its gradient send on these ranks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from rich.table import Table

from dogcm.cli.configuration import configuration
from dogcm.cli.console import console
from dogcm.cli.errors import OK
from dogcm.halo.counting import Traffic, traffic
from dogcm.learning.rollout import rollout
from dogcm.simulation.model import Model


def show(experiment: str, sets: list[str], inputs: str | None, layout: str) -> int:
    """Print messages and bytes of every rank. Nothing is compiled.

    Raises:
        ConfigError, InputError, LayoutError: see :class:`dogcm.simulation.model.Model`.
    """
    model = Model(configuration(experiment, sets, None, inputs), layout=layout)
    found = [("a step", of_step(model)), ("a step and its gradient", of_gradient(model))]
    gathered = model.comm.gather(found)
    if gathered is None:
        return OK
    if model.comm.size == 1:
        print("one rank sends nothing; start this as you would a run, e.g. launch/mpirun.sh -n 4")
        return OK
    out = console()
    out.print(f"{model.config.name} on {model.layout.describe()}, sent by each rank:")
    out.print(_table(gathered))
    if any(t.open_ended for rank in gathered for _, t in rank):
        out.print("An iteration of the implicit free surface's solver counts once.")
    out.print(
        "Messages are to one neighbour each and are answered by one of the same size; sums are "
        "over all ranks.\nThe gradient is that of a loss after one step, with the default "
        "checkpoint, for all parameters and the initial state."
    )
    return OK


def of_step(model: Model) -> Traffic:
    """What a step sends on this rank."""
    at = (model.state, model.params, model.forcing, model.grid)
    return traffic(jax.make_jaxpr(model.step)(*at))


def of_gradient(model: Model) -> Traffic:
    """What a step, once more for its derivative, and the way back send on this rank."""

    def loss(state, params, forcing, grid):
        last, _ = rollout(model.step, state, params, forcing, grid, 1, checkpoint="step")
        return jnp.sum(last.temperature.interior**2)

    gradient = jax.value_and_grad(loss, argnums=(0, 1), allow_int=True)
    at = (model.state, model.params, model.forcing, model.grid)
    return traffic(jax.make_jaxpr(gradient)(*at))


def _table(gathered: list[list[tuple[str, Traffic]]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", "program", "messages", "kB", "sums", "kB of sums"):
        table.add_column(name, justify="left" if name in ("program",) else "right")
    for rank, found in enumerate(gathered):
        for what, t in found:
            numbers = (t.messages, t.message_bytes / 1e3, t.reductions, t.reduction_bytes / 1e3)
            table.add_row(
                str(rank), what, *(f"{n:,.4g}" if n < 1e4 else f"{n:,.0f}" for n in numbers)
            )
    return table
