"""The city package: what a city declares, read and checked before anything runs. Used by `app.py` and `cli.py`."""

from haechi.services.cities.city import check, load_city
from haechi.services.cities.conduct import Around
from haechi.services.cities.model import AttributeDef, City, Device, Domain, FieldMap, Link, MapLayer, TypeDef, type_of
from haechi.services.cities.problems import Problem

__all__ = [
    "Around",
    "AttributeDef",
    "City",
    "Device",
    "Domain",
    "FieldMap",
    "Link",
    "MapLayer",
    "Problem",
    "TypeDef",
    "check",
    "load_city",
    "type_of",
]
