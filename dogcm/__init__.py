"""dogcm: a differentiable, domain-decomposed global ocean circulation model in JAX.

Five lines run the global ocean on one process::

    import dogcm

    model = dogcm.Model("global_4deg")
    model.run(days=30)
    print(model.summary())

The public names are loaded on first use, so that ``import dogcm`` stays cheap, sets nothing, and a
launcher can bind its device before JAX is imported. The first of them makes the compiler's settings
(:func:`dogcm.configure`), which have to be made before JAX starts.
"""

from importlib import import_module

__version__ = "0.1.0"

# By module; a name that is another one there follows a colon.
_BY_MODULE = {
    "lowering.compiler": "configure",
    "simulation.model": "Model",
    "simulation.wishes": "Output Callback",
    "grid.grids": "Grid CartesianGrid:Cartesian LatLonGrid:LatLon RotatedGrid:Rotated "
    "TripolarGrid:Tripolar FileGrid:FromFile",
    "setups.registry": "load_config experiments",
    "field": "Field fmap exchange",
    "physics.surface": "Forcing",
    "diagnostics.series": "DiagnosticSeries",
    "diagnostics.variables": "OutputVariable",
    "corrector": "CorrectorConfig Corrector build_corrector",
    "corrector.networks": "Network HaloNetwork",
    "corrector.layers": "HaloConv",
    "corrector.features": "Feature",
    "corrector.outputs": "CorrectorOutput",
    "learning.measures": "Measure",
    "learning.penalties": "Penalty",
    "targets": "Targets TargetGrid TargetWindows TargetError Clock Profiles ProfileOperator locate "
    "read_glorys read_profiles read_sst",
    "targets.interfaces": "Truth Parts",
    "targets.truth": "make_truths",
    "targets.recorded": "GriddedTruth",
    "learning.recipe": "Recipe load_recipe",
    "learning.sweep": "members_of train_sweep",
    "learning.training": "build_training:build train",
    "learning.trainer": "Trainer Stage Conduct",
    "learning.groups": "Ranks",
    "learning.optimiser": "OptimiserSettings:Settings",
    "learning.problem": "Problem Window stacked",
    "learning.losses": "SquaredError squared_error level_spread observe",
    "learning.rollout": "rollout",
    "targets.blobs": "blob_field",
    "evaluation.evaluation": "contenders_in evaluate trained_in",
    "evaluation.comparison": "compare_trainings",
    "evaluation.report": "write_report",
    "evaluation.score_table": "read_scores:read_csv",
    "plots.run": "pictures",
    "plots.scores": "draw_by_lead draw_bias_maps draw_spectra",
    "diagnostics.transports": "SVERDRUP drake_passage overturning_strength transport zonal_section",
    "verification.verify": "verify_layout verify_restart verify_conservation",
    "verification.gradients": "verify_gradients",
    "decomp": "on_devices world",
    "spinup": "equilibrium",
    "learning.parameters": "Learnable LearnableSet",
    "components": "Component ConfigError option parameter kinds_of",
    # What a scheme of one's own derives from.
    "dynamics.interfaces": "TracerAdvection MomentumAdvection Pressure Coriolis Friction "
    "EddyViscosity Backscatter LateralDiffusion BottomDrag VerticalAdvection",
    "dynamics.tracer_advection": "OneStageAdvection:OneStage DST3 LimitedDST3 SplitDST3 Centered "
    "Upwind",
    "dynamics.split": "SplitAdvection:Split Sweep",
    "physics.interfaces": "EquationOfState VerticalMixing Column Mixing Convection "
    "BackgroundMixing TidalMixing Eddies SurfaceFlux",
    "tracers": "TracerKind TracerVariable Sources Water IdealAge Dye SurfaceHistory Phosphorus "
    "Radiocarbon",
    # The schemes that ship.
    "dynamics.ppm": "PPM",
    "dynamics.tracer_transport": "WENO WENO5 WENO7",
    "dynamics.momentum": "EnergyConserving EnstrophyConserving EnergyEnstrophyConserving "
    "WENOVorticity",
    "dynamics.vertical_advection": "AdaptiveImplicit",
    "dynamics.coriolis_cd": "CGrid CDScheme",
    "physics.lateral": "StressFriction AlongLayers Drag",
    "physics.laplacian": "LaplacianFriction",
    "physics.eddy_viscosity": "Smagorinsky Leith",
    "physics.zanna_bolton": "ZannaBolton",
    "physics.eos": "TEOS10 LinearEOS",
    "physics.eos_jmd95": "JMD95",
    "physics.richardson": "RichardsonMixing",
    "physics.tke": "TKE",
    "physics.kpp": "KPP",
    "physics.convection": "EnhancedMixing",
    "physics.background_mixing": "ConstantBackground BryanLewis StLaurent",
    "physics.vertical_mixing": "implicit_solve",
    "physics.averaged_slopes": "AveragedSlopes",
    "physics.isoneutral": "Isoneutral",
    "physics.visbeck": "Visbeck",
    "physics.surface.bulk": "NCAR",
    "physics.surface.ice": "SemtnerIce",
    "physics.surface.shortwave": "TwoBand",
}
_PUBLIC = {
    name.partition(":")[0]: (f"dogcm.{module}", name.rpartition(":")[2])
    for module, names in _BY_MODULE.items()
    for name in names.split()
}

# Modules under a shorter name.
_MODULES = {
    "horizontal": "dogcm.grid.horizontal",
    "losses": "dogcm.learning.losses",
    "operators": "dogcm.operators",
    "plots": "dogcm.plots",
    "targets": "dogcm.targets",
    "verify": "dogcm.verification.verify",
}

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES or name in _PUBLIC:
        import_module("dogcm.lowering.compiler").configure()
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _PUBLIC:
        module, attribute = _PUBLIC[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'dogcm' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
