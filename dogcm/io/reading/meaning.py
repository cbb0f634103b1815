"""What a standard name says of a field: whether it is the one that is wanted, its sign, its axes.

The names are those of the CF table, https://cfconventions.org/standard-names.html.
"""

from __future__ import annotations

from dogcm.io.reading.errors import InputError
from dogcm.io.reading.request import Request

_STRESS = ("surface_downward_{}_stress", "surface_downward_{}_stress_in_sea_water", "{}_stress")
_EAST, _NORTH = ("eastward", "zonal"), ("northward", "meridional")


def _vector(directions, patterns) -> tuple[str, ...]:
    return tuple(p.format(d) for d in directions for p in patterns)


_WIND = ("{}_wind", "{}_wind_at_10m")
#: Field: standard names that mean it.
SAME: dict[str, tuple[str, ...]] = {
    "taux": _vector(_EAST, _STRESS),
    "tauy": _vector(_NORTH, _STRESS),
    "wind_u": _vector(_EAST, _WIND),
    "wind_v": _vector(_NORTH, _WIND),
    "u": _vector(_EAST, ("{}_sea_water_velocity",)),
    "v": _vector(_NORTH, ("{}_sea_water_velocity",)),
    "heat_flux": (
        "surface_downward_heat_flux_in_sea_water",
        "surface_downward_heat_flux_in_air",
        "downward_heat_flux_in_sea_water",
    ),
    "freshwater_flux": ("water_flux_into_sea_water",),
    "temperature": (
        "sea_water_temperature",
        "sea_water_potential_temperature",
        "sea_water_conservative_temperature",
    ),
    "salinity": (
        "sea_water_salinity",
        "sea_water_practical_salinity",
        "sea_water_absolute_salinity",
        "sea_water_preformed_salinity",
    ),
    "sst": (
        "sea_surface_temperature",
        "sea_surface_skin_temperature",
        "sea_surface_subskin_temperature",
        "sea_surface_foundation_temperature",
        "sea_water_temperature",
        "sea_water_potential_temperature",
        "sea_water_conservative_temperature",
        "sea_water_potential_temperature_at_sea_floor",
    )[:-1],
    "sss": (
        "sea_surface_salinity",
        "sea_surface_practical_salinity",
        "sea_water_salinity",
        "sea_water_practical_salinity",
        "sea_water_absolute_salinity",
    ),
    "eta": (
        "sea_surface_height_above_geoid",
        "sea_surface_height_above_sea_level",
        "sea_surface_height_above_reference_ellipsoid",
        "sea_surface_elevation",
    ),
    "wind_speed": ("wind_speed",),
    "air_temperature": ("air_temperature",),
    "dew_point": ("dew_point_temperature",),
    "specific_humidity": ("specific_humidity",),
    "shortwave_down": (
        "surface_downwelling_shortwave_flux_in_air",
        "surface_downwelling_shortwave_flux",
    ),
    "longwave_down": (
        "surface_downwelling_longwave_flux_in_air",
        "surface_downwelling_longwave_flux",
    ),
    "precipitation": (
        "precipitation_flux",
        "rainfall_flux",
        "lwe_precipitation_rate",
        "precipitation_amount",
        "lwe_thickness_of_precipitation_amount",
    ),
    "snowfall": ("snowfall_flux", "lwe_snowfall_rate", "lwe_thickness_of_snowfall_amount"),
    "runoff": (
        "runoff_flux",
        "water_flux_into_sea_water_from_rivers",
        "water_volume_transport_into_sea_water_from_rivers",
    ),
    "sea_level_pressure": ("air_pressure_at_mean_sea_level", "air_pressure_at_sea_level"),
}
#: Standard names of the same quantity, counted the other way.
OPPOSITE: dict[str, tuple[str, ...]] = {
    "taux": _vector(_EAST, ("surface_upward_{}_stress",)),
    "tauy": _vector(_NORTH, ("surface_upward_{}_stress",)),
    "heat_flux": (
        "surface_upward_heat_flux_in_air",
        "surface_upward_heat_flux_in_sea_water",
        "upward_heat_flux_in_sea_water",
    ),
    "freshwater_flux": ("water_flux_out_of_sea_water", "surface_upward_water_flux"),
}
# Parts of names of components along the axes of the file's own grid.
_ALONG = ("x_wind", "y_wind", "_x_stress", "_y_stress", "grid_eastward", "grid_northward")
_ALONG += ("sea_water_x_velocity", "sea_water_y_velocity")
_EASTWARD = ("taux", "wind_u", "u")
_VECTORS = (*_EASTWARD, "tauy", "wind_v", "v")
_DEPTHS = ("sea_floor_depth", "model_sea_floor_depth", "sea_floor_depth_below")
_HEIGHTS = ("altitude", "height_above", "geoid_height", "elevation", "bedrock_altitude")
_NAMED_UP = ("elevation", "topo", "z", "altitude", "height", "bedrock", "band1", "rose", "bed")
_NAMED_DOWN = ("depth", "deptho", "h", "bathy", "bathymetry", "depth_t", "bathy_metry", "hraw")


def along_grid(name: str) -> bool:
    """Whether a standard name is that of a component along the axes of the file's grid."""
    return any(part in name for part in _ALONG)


def _along_x(name: str) -> bool:
    return any(part in name for part in ("x_wind", "_x_", "grid_eastward"))


def sign(field: str, standard_name: str, request: Request, where: str) -> float:
    """+1, or -1 where the file counts the other way.

    Args:
        standard_name: of the file; the configuration's, if it has one, holds instead.

    Raises:
        InputError: the name says that it is another field.
    """
    turned = -1.0 if request.sign == "reversed" else 1.0
    name = (request.standard_name or standard_name).strip()
    if not name or field not in SAME or name in SAME[field]:
        return turned
    if name in OPPOSITE.get(field, ()):
        return -1.0 if not request.sign else turned
    if field in _VECTORS and along_grid(name) and (field in _EASTWARD) == _along_x(name):
        return turned  # the caller turns it, or refuses
    others = [f for f, names in SAME.items() if name in names or name in OPPOSITE.get(f, ())]
    ask = request.ask("standard_name", SAME[field][0])
    other_component = field in _VECTORS and along_grid(name)
    if (
        others
        or "upward" in name
        or other_component
        or (field in _VECTORS and ("eastw" in name or "northw" in name))
    ):
        raise InputError(
            f"{where} is {name} by its standard name, not {field} ({SAME[field][0]}); if the file "
            f"is wrong about it, {ask} says better"
        )
    return turned


def positive_up(variable: str, attrs: dict, values, request: Request, where: str) -> float:
    """+1 if a sea floor is given as elevation, -1 if as depth.

    By the configuration, the attribute ``positive``, the standard name, the name; last by values
    that lie on one side of zero only.

    Raises:
        InputError: nothing says it.
    """
    if request.sign in ("up", "down"):
        return 1.0 if request.sign == "up" else -1.0
    positive = str(attrs.get("positive", "")).lower()
    if positive in ("up", "down"):
        return 1.0 if positive == "up" else -1.0
    standard = request.standard_name or str(attrs.get("standard_name", ""))
    if standard.startswith(_DEPTHS):
        return -1.0
    if any(h in standard for h in _HEIGHTS):
        return 1.0
    name = variable.lower()
    if name in _NAMED_UP:
        return 1.0
    if name in _NAMED_DOWN or name.startswith("bathy"):
        return -1.0
    known = values[values == values]
    if (known >= 0).all():
        return -1.0  # an elevation without water is no sea floor
    if (known <= 0).all():
        return 1.0
    raise InputError(
        f"{where}: nothing says whether it is elevation or depth, and it has values of both signs; "
        f"{request.ask('sign', 'up')} (elevation) or {request.ask('sign', 'down')} (depth) does"
    )
