"""dogcm: a differentiable, domain-decomposed global ocean circulation model in JAX.

Five lines run the global ocean on one process::

    import dogcm

    model = dogcm.Model("global_4deg")
    model.run(days=30)
    print(model.summary())

The public names are loaded on first use, so that ``import dogcm`` stays cheap and a launcher can
bind its device before JAX is imported.
"""

from importlib import import_module

from dogcm.lowering import compiler as _compiler

_compiler.configure()

__version__ = "0.1.0"

_PUBLIC = {
    "Model": "dogcm.simulation.model",
    "load_config": "dogcm.setups.registry",
    "experiments": "dogcm.setups.registry",
    "Field": "dogcm.field",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'dogcm' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
