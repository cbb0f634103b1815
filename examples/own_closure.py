"""A channel with a vertical mixing of one's own, learned by gradient: from a file of plug-ins."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "plugins"))
from sluggish_mixing import SluggishMixing

import dogcm

ocean = dogcm.Model(
    "channel",
    {"grid.nx": 24, "grid.ny": 20, "run.output": {}},
    vertical_mixing=SluggishMixing(sluggish_strength=0.02, sluggish_time=43200.0),
)
ocean.run(days=5, progress=False)
print(f"mixing {float(ocean.state.closures['sluggish'].interior.max()):.4f} m2/s")
print(ocean.config.to_yaml().split("vertical_mixing:")[1].split("convection")[0])
