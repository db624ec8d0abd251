"""Names of approximations: a number format, a method with its degree, or both joined by ``+``.

``exact``, ``int8``, ``lowrank(1/2)``, ``int8+perforate(rows=2,cols=2)``. ``exact`` is not written beside a
method.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from network.errors import NetworkError

EXACT = "exact"
PATTERN = re.compile(r"(?:(?P<format>[a-z0-9]+)\+)?(?P<method>[a-z0-9]+)(?:\((?P<degree>[^()]+)\))?")


@dataclass(frozen=True, slots=True)
class Approximation:
    """What is done to a layer."""

    number_format: str = EXACT
    method: str | None = None
    degree: str | None = None
    """As the method writes it; present whenever a method is."""

    @property
    def structure(self) -> str:
        """Without its number format."""
        return str(replace(self, number_format=EXACT))

    def __str__(self) -> str:
        if self.method is None:
            return self.number_format
        structure = f"{self.method}({self.degree})"
        return structure if self.number_format == EXACT else f"{self.number_format}+{structure}"


def parse_name(name: str, formats: Collection[str], methods: Collection[str]) -> Approximation:
    """The approximation of that name. Raises NetworkError for a name that is not one."""
    found = PATTERN.fullmatch(name.replace(" ", ""))
    if found is not None:
        number_format, method, degree = found.group("format", "method", "degree")
        if number_format is None and degree is None and method in formats:
            return Approximation(method)
        if method in methods and degree is not None and (number_format is None or number_format in formats):
            return Approximation(number_format or EXACT, method, degree)
    examples = ", ".join((*sorted(formats), *(f"{each}(...)" for each in sorted(methods))))
    raise NetworkError(f"{name!r} is not an approximation; write one of {examples} or int8+METHOD(...)")
