"""Approximations: number formats and structural methods, one file each, composed with each other.

A file with a ``METHOD`` is found by itself: adding an approximation is adding a file. ``Catalogue`` holds
what they make of a network.
"""

from network.approximations.catalogue import Catalogue, catalogue
from network.approximations.context import Context
from network.approximations.naming import Approximation
from network.approximations.registry import method_names, parse

__all__ = ["Approximation", "Catalogue", "Context", "catalogue", "method_names", "parse"]
