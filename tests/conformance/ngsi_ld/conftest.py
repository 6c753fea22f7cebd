"""Gives the tests of this folder the face under test."""

from conftest_ngsi import api

__all__ = ["api"]
