"""The commands and their options. What is heavy is imported inside a command: ``dogcm --help`` is
quick."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from dogcm.cli.tiles import asked_for, on_tiles
from dogcm.decomp.binding import DeviceBinding, bind_device, launch_rank

app = typer.Typer(
    name="dogcm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A differentiable, tiled global ocean model. Starts alone, under mpirun and under srun.",
    epilog="Exit status: 0 done, 1 a check fell short, 2 unusable command or configuration, 3 "
    "unusable file, "
    "4 the model blew up, 5 MPI and launcher do not fit, 70 an error inside dogcm, "
    "75 asked to stop (with --resume: start again), 130 interrupted.",
)

Experiment = Annotated[
    str, typer.Argument(help="Name of an experiment (see `dogcm list`) or path of a YAML file.")
]
Days = Annotated[float | None, typer.Option(help="Length of the run in days.", show_default=False)]
Years = Annotated[
    float | None, typer.Option(help="Length of the run in years (forcing.year days each).")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a parameter, e.g. time.step=1800; may be repeated.",
    ),
]
Layout = Annotated[str, typer.Option(metavar="PXxPY", help="Tiles in x and y, e.g. 4x2, or auto.")]
Devices = Annotated[
    int | None,
    typer.Option(
        min=1,
        show_default=False,
        help="Tiles of this process, or of each of several, on a device each; messages go through "
        "XLA instead of MPI.",
    ),
]
Precision = Annotated[str | None, typer.Option(help="float64 or float32.", show_default=False)]
Inputs = Annotated[
    str | None,
    typer.Option(
        help="Folder with the input files, where the experiment reads its own; paths in --set "
        "count from the working directory."
    ),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Output folder.", show_default=False)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace earlier results in the output folder.")
]


def _cold(text: str):
    return typer.Option("--cold", metavar="KEY", help=f"{text}; may be repeated.")


Cold = Annotated[
    list[str] | None,
    _cold(
        "A scheme (vertical_mixing, sea_ice, ...) that starts from rest instead of from the "
        "restart, or may stay behind"
    ),
]
ResumeCold = Annotated[
    list[str] | None,
    _cold(
        "With --resume: a scheme (vertical_mixing, sea_ice, ...) that starts from rest if the "
        "restart lacks it (else it goes on), or whose content may stay behind"
    ),
]
Corrector = Annotated[
    str | None,
    typer.Option(
        "--corrector",
        metavar="FILE",
        help="A trained corrector takes part: corrector.npz of a training, or 'shipped' for that "
        "of the experiment in the package.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No start table, no progress line.")]


def device(devices: int = 1) -> DeviceBinding:
    """What this rank computes on, dealt out before JAX starts."""
    return bind_device(devices=devices)


def run_command(words: list[str]) -> int:
    """Parse ``words``, run the command, return its exit status. Ranks above 0 print nothing but
    errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale: units have signs like µ
            stream.reconfigure(encoding="utf-8", errors="replace")
    if device(asked_for(words)).platform == "cpu":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        from dogcm.lowering import compiler

        compiler.configure()
    silent = launch_rank() > 0
    before = sys.stdout
    with open(os.devnull, "w") as nowhere:
        try:
            if silent:
                sys.stdout = nowhere
            return int(
                typer.main.get_command(app)(words, prog_name="dogcm", standalone_mode=False) or 0
            )
        finally:
            sys.stdout = before


def _version(value: bool) -> None:
    if value:
        import dogcm

        typer.echo(f"dogcm {dogcm.__version__}")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Tracebacks with errors (as DOGCM_DEBUG=1).")
    ] = False,
) -> None:
    """Options that go with every command."""


@app.command()
def run(
    experiment: Experiment,
    days: Days = None,
    years: Years = None,
    set_: Sets = None,
    output: Output = None,
    overwrite: Overwrite = False,
    layout: Layout = "auto",
    precision: Precision = None,
    inputs: Inputs = None,
    corrector: Corrector = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show tiles, memory and speed; write nothing.")
    ] = False,
    devices: Devices = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest restart in the output folder, if any, "
            "until --days are done in all.",
        ),
    ] = False,
    cold: ResumeCold = None,
    quiet: Quiet = False,
) -> int:
    """Run an experiment from its beginning (30 days, unless told otherwise).

    Results go to output/NAME. Start several ranks by `mpirun -n 4 dogcm run ...` or `srun -n 4
    dogcm run ...`; or give the tiles to the devices of each process: `--devices 4`.
    """
    from dogcm.cli import running
    from dogcm.cli.configuration import configuration
    from dogcm.components.errors import ConfigError

    sets = (set_ or []) + ([f"corrector.weights={corrector}"] if corrector else [])
    config = configuration(experiment, sets, precision, inputs)
    if dry_run:
        return running.dry_run(config, layout, running.duration(config, days, years), device())
    if cold and not resume:
        raise ConfigError("--cold starts a scheme anew that a restart lacks: it goes with --resume")
    options = {"overwrite": overwrite, "progress": not quiet, "binding": device()}
    options["cold"] = cold or []
    length = running.duration(config, days, years)
    start = lambda: running.start(config, layout, length, output, options, resume)
    return on_tiles(start, devices)


@app.command()
def restart(
    path: Annotated[
        str, typer.Argument(help="Output folder (its newest restart is taken), or a restart file.")
    ],
    days: Days = None,
    years: Years = None,
    set_: Sets = None,
    output: Output = None,
    overwrite: Overwrite = False,
    layout: Layout = "auto",
    devices: Devices = None,
    cold: Cold = None,
    quiet: Quiet = False,
) -> int:
    """Go on from a restart, on any number of ranks. Results are added to the same folder."""
    from dogcm.cli import running

    options = {"overwrite": overwrite, "progress": not quiet, "binding": device()}
    options["cold"] = cold or []
    sets = set_ or []
    go_on = lambda: running.go_on(path, days, years, sets, output, layout, options)
    return on_tiles(go_on, devices)


@app.command(name="list")
def list_() -> int:
    """List the ready experiments."""
    from dogcm.cli import show

    return show.experiment_list()


@app.command(name="show")
def show_(
    experiment: Annotated[
        str | None,
        typer.Argument(help="Name, or YAML file, also of a recipe; without one: the defaults."),
    ] = None,
    variables: Annotated[
        bool, typer.Option("--variables", help="The variables that can be written.")
    ] = False,
    messages: Annotated[
        bool,
        typer.Option("--messages", help="What a step and its gradient send on these ranks."),
    ] = False,
    set_: Sets = None,
    inputs: Inputs = None,
    layout: Layout = "auto",
) -> int:
    """Show every parameter with its value, unit, default and meaning."""
    if messages:
        from dogcm.cli import messages as page

        return page.show(experiment or "global_4deg", set_ or [], inputs, layout)
    from dogcm.cli import show

    return show.variables() if variables else show.parameters(experiment, set_ or [], inputs)


@app.command(name="inputs")
def inputs_(
    target: Annotated[
        str, typer.Argument(help="A netCDF file, the name of an experiment, or a YAML file.")
    ],
    set_: Sets = None,
    inputs: Inputs = None,
) -> int:
    """Show what is understood of input files: units, axes, ranges, times, gaps and a small map."""
    from dogcm.cli import inputs as page

    return page.show(target, set_ or [], inputs)


@app.command()
def check() -> int:
    """Check the installation: versions, MPI, devices, messages between ranks. Start it as you would
    a run."""
    from dogcm.cli import check as checks

    return checks.check()


@app.command()
def verify(
    what: Annotated[
        str,
        typer.Argument(
            help="layout, restart, conservation, gradients or all; or mitgcm: beside MITgcm's "
            "results; or cases: verification cases beside other models' values."
        ),
    ] = "all",
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="cases: which, or package.module:Class of your own; default all but dear ones.",
            show_default=False,
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Name or YAML file; default global_4deg.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=2, help="Steps of each run; default 200, 48 for gradients.", show_default=False
        ),
    ] = None,
    set_: Sets = None,
    layout: Layout = "auto",
    devices: Devices = None,
    inputs: Inputs = None,
    precision: Precision = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="mitgcm: folder of its results; default mitgcm_reference beside the inputs."
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="mitgcm: last day compared.", show_default=False)
    ] = None,
    asynchronous: Annotated[
        bool,
        typer.Option(
            "--asynchronous", help="mitgcm: its tutorial as published, tracers at a step of a day."
        ),
    ] = False,
    dear: Annotated[bool, typer.Option("--dear", help="cases: also those that take long.")] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="cases: folder for cases.csv and pictures.", show_default=False
        ),
    ] = None,
) -> int:
    """Show on your own machine and ranks that results are exact; exit status 1 where they are
    not."""
    if what == "cases":
        from dogcm.cli import cases

        cases.refuse(experiment=experiment, steps=steps, inputs=inputs, reference=reference)
        return cases.verify_cases(names or [], set_ or [], precision, layout, dear, output)
    from dogcm.cli import verifying
    from dogcm.cli.configuration import configuration

    verifying.refuse_names(what, names)
    twin = what == "mitgcm"
    config = configuration(
        experiment or ("mitgcm_4deg" if twin else "global_4deg"), set_ or [], precision, inputs
    )
    if twin:
        return verifying.verify_mitgcm(config, reference, days, layout, asynchronous)
    return on_tiles(lambda: verifying.verify(what, config, steps, layout), devices)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe (YAML).")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in the folder.")
    ] = False,
    updates: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many updates in all.", show_default=False),
    ] = None,
    set_: Sets = None,
    output: Output = None,
    overwrite: Overwrite = False,
    layout: Layout = "auto",
    devices: Devices = None,
    quiet: Quiet = False,
) -> int:
    """Learn physical parameters, a corrector, or both, by gradients through the model.

    Results go to output/NAME. On any number of ranks: `mpirun -n 4 dogcm train ...`, or on the
    devices of each process: `--devices 4`.
    """
    from dogcm.cli import training

    options = (output, resume, overwrite, updates, layout, quiet)
    return on_tiles(lambda: training.train(recipe, set_ or [], *options), devices)


@app.command()
def evaluate(
    run_: Annotated[str, typer.Argument(metavar="RUN", help="Output folder of a training.")],
    days: Annotated[
        float | None,
        typer.Option(help="Longest lead; default: the longest rollout.", show_default=False),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Test windows, at most.")] = 8,
    free: Annotated[
        float | None,
        typer.Option(
            help="Also run freely for so many days, in float64: drift, stability.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Another training on the same truth to compare with; may be repeated.",
        ),
    ] = None,
    layout: Layout = "auto",
) -> int:
    """Score a training on records it has not seen, beside the untrained model, persistence and
    climatology."""
    from dogcm.cli import training

    return training.evaluate(run_, days, windows, free, against or [], layout)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of trainings.")],
    html: Annotated[
        str | None,
        typer.Option(help="Also write a page with curves and scores.", show_default=False),
    ] = None,
) -> int:
    """Put trainings side by side: what their recipes differ in, how they went, how they scored."""
    from dogcm.cli import training

    return training.compare(runs, html)


@app.command()
def spinup(
    experiment: Experiment,
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", help="A passive tracer; may be repeated."),
    ] = None,
    method: Annotated[str, typer.Option(help="newton, anderson or direct.")] = "newton",
    tolerance: Annotated[
        float, typer.Option(help="What a year may still change, over the size of the tracer.")
    ] = 1e-6,
    years: Annotated[
        float, typer.Option(help="Years of the map, a derivative counted as two, at most.")
    ] = 2000.0,
    restart_: Annotated[
        str | None,
        typer.Option(
            "--restart",
            help="Restart of the state whose next year is recorded; default: the start.",
            show_default=False,
        ),
    ] = None,
    set_: Sets = None,
    output: Output = None,
    layout: Layout = "auto",
    devices: Devices = None,
    inputs: Inputs = None,
    quiet: Quiet = False,
) -> int:
    """Find the equilibrium of passive tracers without the millennia.

    A year of the model's circulation is recorded; what it carries is solved for, and written as a
    restart. Goes on where it was interrupted in the same folder.
    """
    from dogcm.cli import spinning
    from dogcm.cli.configuration import configuration

    config = configuration(experiment, set_ or [], None, inputs)
    way = {"method": method, "tolerance": tolerance, "most_years": years}
    options = (output, restart_, layout, quiet)
    return on_tiles(lambda: spinning.spinup(config, variable or [], way, *options), devices)


@app.command(name="compare-stats")
def compare_stats(
    first: Annotated[str, typer.Argument(help="Output folder of a run, or its monitor.csv.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
) -> int:
    """Compare two runs' monitor files to the last bit; exit status 1 where they differ."""
    from dogcm.diagnostics.compare import compare

    found = compare(first, second)
    typer.echo(found.text)
    return 0 if found.same else 1


@app.command()
def plot(
    folder: Annotated[str, typer.Argument(help="Output folder of a run.")],
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", help="A map of this variable; may be repeated."),
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="Which file of the folder, e.g. monthly.")
    ] = None,
) -> int:
    """Draw pictures of a run into FOLDER/pictures."""
    from dogcm.plots import run as plots

    for path in plots.pictures(folder, variable, file):
        typer.echo(str(path))
    return 0
