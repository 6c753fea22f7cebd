"""Gives the tests of this folder the face under test."""

from conftest_ngsi import api
from conftest_temporal import evolving

__all__ = ["api", "evolving"]
