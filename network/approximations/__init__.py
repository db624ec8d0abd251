"""Approximations: number formats and structural methods, one file each, composed with each other.

A file with a ``METHOD`` is found by itself: adding an approximation is adding a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from network.approximations.context import Context, contexts
from network.approximations.method import Method, NumberFormat
from network.approximations.naming import Approximation, parse_name
from network.approximations.stages import Stages, whole
from network.errors import NetworkError
from network.layers import DType, Layer, Network
from network.samples import Samples
from network.variants import Variant

__all__ = [
    "Approximation",
    "Context",
    "contexts",
    "fitted_anew",
    "method_names",
    "network_variants",
    "parse",
    "variants",
]


def method_names() -> tuple[str, ...]:
    """Everything that ``methods`` may name: number formats, then structural methods."""
    return (*_formats(), *_methods())


def parse(name: str) -> Approximation:
    """The approximation of that name, such as ``int8+lowrank(1/2)``. Raises NetworkError for any other."""
    return parse_name(name, _formats(), _methods())


def network_variants(
    network: Network,
    samples: Samples,
    methods: Sequence[str] | None = None,
    degrees: Sequence[Fraction] | None = None,
) -> dict[str, tuple[Variant, ...]]:
    """Every variant of every layer, by layer name, fitted to these samples."""
    known = contexts(network, samples)
    return {layer.name: variants(layer, known[layer.name], methods, degrees) for layer in network.layers}


def variants(
    layer: Layer,
    context: Context,
    methods: Sequence[str] | None = None,
    degrees: Sequence[Fraction] | None = None,
) -> tuple[Variant, ...]:
    """Every approximation of the layer with every element type that it reads and writes; ``exact`` is first.

    ``methods`` limits the number formats and structural methods (``exact`` is always there); ``degrees``
    replaces the defaults of each method. The same inputs give the same parameters. Raises NetworkError for an
    unknown method.
    """
    _check(methods)
    formats = [each for name, each in _formats().items() if methods is None or name in (*methods, "exact")]
    if not layer.has_weights:
        return tuple(_plain(layer, context, formats))
    return tuple(
        Variant(layer.name, name, each.input_dtype, dtype, each.lower(stages, context, dtype))
        for structure, stages in _structures(layer, context, methods, degrees)
        for each in formats
        for name in [str(replace(structure, number_format=each.name))]
        for dtype in _output_dtypes(context)
    )


def fitted_anew(variant: Variant, layer: Layer, context: Context) -> Variant:
    """The same variant of a layer with weights under another context: kernels stay, parameters change."""
    name = parse(variant.approximation)
    stages: Stages = (whole(layer),)
    if name.method is not None and name.degree is not None:
        method = _methods()[name.method]
        stages = method.fit(layer, context, [method.share(name.degree)])[name.degree]
    steps = _formats()[name.number_format].lower(stages, context, variant.output_dtype)
    return replace(variant, steps=steps)


def _plain(layer: Layer, context: Context, formats: Sequence[NumberFormat]) -> Iterator[Variant]:
    for each in formats:
        if lowered := each.lower_plain(layer, context):
            yield Variant(layer.name, each.name, *lowered)


def _structures(
    layer: Layer, context: Context, methods: Sequence[str] | None, degrees: Sequence[Fraction] | None
) -> Iterator[tuple[Approximation, Stages]]:
    yield Approximation(), (whole(layer),)
    for name, method in _methods().items():
        if methods is None or name in methods:
            for degree, stages in method.fit(layer, context, degrees).items():
                yield Approximation(method=name, degree=degree), stages


def _output_dtypes(context: Context) -> tuple[DType, ...]:
    return ("float32",) if context.last else ("float32", "uint8")


def _check(methods: Sequence[str] | None) -> None:
    if unknown := sorted(set(methods or ()) - set(method_names())):
        raise NetworkError(f"no approximation {', '.join(unknown)}; choose from {', '.join(method_names())}")


@cache
def _formats() -> dict[str, NumberFormat]:
    found = {each.name: each for each in _discover() if isinstance(each, NumberFormat)}
    return {"exact": found.pop("exact"), **found}


@cache
def _methods() -> dict[str, Method]:
    return {each.name: each for each in _discover() if isinstance(each, Method)}


def _discover() -> Iterator[object]:
    for module in iter_modules(__path__):
        yield getattr(import_module(f"{__name__}.{module.name}"), "METHOD", None)
