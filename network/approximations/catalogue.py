"""Every variant of every layer of a network, with what it takes to fit parameters to any of them.

A variant is kernels; its parameters are many times larger and differ from configuration to configuration, so
they are made when they are needed.

Where a layer selects input channels, its producer need not compute the others: it has variants that write
only those, and the solver sees to it that both agree. That holds along a chain; where several layers read a
tensor, or it is the network's input, all channels are written and a selection gathers its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from network.approximations import plain
from network.approximations.context import Context, contexts
from network.approximations.lowering import kernels
from network.approximations.method import NumberFormat
from network.approximations.naming import EXACT, Approximation
from network.approximations.plain import CHANNELWISE, rectifies, storable
from network.approximations.pruning import Costs, felt, worthwhile
from network.approximations.registry import chosen_formats, formats, methods, parse
from network.approximations.stages import (
    Convolve,
    Index,
    Interpolate,
    Stages,
    reading_only,
    saves,
    whole,
    writing_only,
)
from network.layers import DType, Layer, Network
from network.samples import Samples
from network.variants import Fitted, Form, Step, Variant


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """What approximations make of a network, fitted to the exact network's activations."""

    network: Network
    contexts: Mapping[str, Context]
    """Layer to its calibration data in the exact network."""
    stages: Mapping[str, Mapping[str, Stages]]
    """Layer with weights to its structures (``exact``, ``lowrank(1/2)``, ...), with all channels written."""
    kept: Mapping[str, Mapping[int, Index]]
    """Layer to which of its output channels its consumer may select, by how many."""
    variants: Mapping[str, tuple[Variant, ...]]
    """Layer to everything that applies to it, ``exact`` first."""

    def variant(self, layer: str, key: str) -> Variant:
        """The layer's variant of that key."""
        return next(each for each in self.variants[layer] if each.key == key)

    def alone(self, layer: str, approximation: str) -> Variant:
        """The approximation as it can stand among exact layers: it writes all in float32 if it can."""
        matching = [each for each in self.variants[layer] if each.approximation == approximation]
        return min(matching, key=lambda each: (each.writes.channels, each.writes.dtype != "float32"))

    def read_channels(self, variant: Variant) -> Index | None:
        """Which channels of the exact input are in the tensor that the variant reads; None: all."""
        return self._channels(self.network[variant.layer].inputs, variant.reads)

    def written_channels(self, variant: Variant) -> Index | None:
        """Which channels of the exact output are in the tensor that the variant writes; None: all."""
        return self._channels((variant.layer,), variant.writes)

    def felt(self) -> dict[tuple[str, str], float]:
        """(Layer, structure) to how much of its errors the network's answer feels."""
        return {
            (layer, name): felt(stages, self.contexts[layer])
            for layer, structures in self.stages.items()
            for name, stages in structures.items()
        }

    def stages_of(self, variant: Variant) -> Stages:
        """The structure of a layer with weights, reading and writing what the variant does."""
        stages = self.stages[variant.layer][parse(variant.approximation).structure]
        if variant.reads.channels:
            stages = reading_only(stages)
        channels = self.written_channels(variant)
        return stages if channels is None else writing_only(stages, channels)

    def whole_of(self, variant: Variant) -> Convolve:
        """The layer itself, writing what the variant does."""
        base = whole(self.network[variant.layer])
        channels = self.written_channels(variant)
        stages = (base,) if channels is None else writing_only((base,), channels)
        return next(each for each in stages if isinstance(each, Convolve))

    def context(self, variant: Variant) -> Context:
        """The exact network's activations, of the channels that the variant reads and writes."""
        known = self.contexts[variant.layer]
        return known.limited(self.read_channels(variant), self.written_channels(variant))

    def fitted(
        self, variant: Variant, stages: Stages | None = None, context: Context | None = None
    ) -> Fitted:
        """The variant with parameters: those of the exact network's activations, if nothing else is given."""
        layer, context = self.network[variant.layer], context or self.context(variant)
        if layer.has_weights:
            number_format = formats()[parse(variant.approximation).number_format]
            stages = stages or self.stages_of(variant)
            parameters = number_format.parameters(stages, context, variant.writes.dtype)
        else:
            parameters = tuple(plain.parameters(layer, context, each) for each in variant.kernels)
        steps = zip(variant.kernels, parameters, strict=True)
        return Fitted(variant, tuple(Step(*each) for each in steps))

    def _channels(self, writers: Sequence[str], form: Form) -> Index | None:
        return self.kept[writers[0]][form.channels] if form.channels else None


def catalogue(
    network: Network,
    samples: Samples,
    named: Sequence[str] | None = None,
    degrees: Sequence[Fraction] | None = None,
    prune: bool = True,
) -> Catalogue:
    """Fit everything that applies; takes seconds to a minute. The same inputs give the same catalogue.

    ``named`` says which number formats and structural methods (None: the usual ones; ``exact`` is always
    there); ``degrees`` replaces the defaults of each method. Without ``prune`` what is dominated stays.
    Raises NetworkError for a name that is not one.
    """
    offered = chosen_formats(named)
    known = contexts(network, samples)
    fitted = {
        layer.name: dict(_structures(layer, known[layer.name], named, degrees))
        for layer in network.layers
        if layer.has_weights
    }
    stages = _worthwhile(network, known, fitted) if prune else fitted
    kept = _kept(network, stages)
    empty = Catalogue(network, known, stages, kept, {})
    variants = {layer.name: tuple(_variants(empty, layer, offered)) for layer in network.layers}
    return replace(empty, variants=variants)


def _structures(
    layer: Layer, context: Context, named: Sequence[str] | None, degrees: Sequence[Fraction] | None
) -> Iterator[tuple[str, Stages]]:
    base = whole(layer)
    yield EXACT, (base,)
    for name, method in methods().items():
        if method.usual if named is None else name in named:
            for degree, stages in method.fit(base, context, degrees).items():
                yield str(Approximation(method=name, degree=degree)), stages


def _worthwhile(
    network: Network, known: Mapping[str, Context], stages: Mapping[str, Mapping[str, Stages]]
) -> dict[str, Mapping[str, Stages]]:
    kept = _kept(network, stages)
    total = Costs.together([Costs.of(structures[EXACT]) for structures in stages.values()])
    return {
        name: worthwhile(
            structures,
            known[name],
            total,
            gathers=not kept[network[name].inputs[0]],
            written=(None, *kept[name].values()),
        )
        for name, structures in stages.items()
    }


def _kept(network: Network, stages: Mapping[str, Mapping[str, Stages]]) -> dict[str, dict[int, Index]]:
    """From the last layer to the first: what a pool's consumer selects, the pool's producer may leave out."""
    found: dict[str, dict[int, Index]] = {}
    for layer in reversed(network.layers):
        readers = network.readers(layer.name)
        narrows = (layer.groups == 1 and layer.has_weights) or layer.op in CHANNELWISE
        if network.answers(layer) or len(readers) != 1 or not narrows:
            found[layer.name] = {}
        elif readers[0].has_weights:
            found[layer.name] = _selections(stages[readers[0].name])
        else:
            found[layer.name] = found[readers[0].name]
    for layer in network.layers:
        if not layer.has_weights and layer.inputs and not found[layer.inputs[0]]:
            found[layer.name] = {}
    return found


def _selections(stages: Mapping[str, Stages]) -> dict[int, Index]:
    firsts = [each[0] for each in stages.values()]
    indices = [each.index for each in firsts if isinstance(each, Convolve) and each.index is not None]
    return {len(each): each for each in indices}


def _variants(known: Catalogue, layer: Layer, offered: Sequence[NumberFormat]) -> Iterator[Variant]:
    widths = (0, *known.kept[layer.name])
    written = [Form(dtype, channels) for dtype in _written(known, layer) for channels in widths]
    for each in offered:
        if not layer.has_weights:
            yield from _plain(known, layer, each, written) if not each.storage else ()
            continue
        for form in written:
            for name, stages in known.stages[layer.name].items():
                yield from _weighted(known, layer.name, name, stages, each, form)


def _written(known: Catalogue, layer: Layer) -> tuple[DType, ...]:
    """Element types that it may write; the network's outputs are float32."""
    if known.network.answers(layer) or not storable(layer, known.contexts[layer.name].output_qparams):
        return ("float32",)
    return ("float32", "uint8")


def _weighted(
    known: Catalogue, layer: str, name: str, stages: Stages, number_format: NumberFormat, writes: Form
) -> Iterator[Variant]:
    """At most one variant: what saves nothing beside the layer as narrow, or stores nothing, is left out.

    What is interpolated in uint8 cannot be rectified but by saturating, and integers have no Winograd tiles.
    """
    if number_format.input_dtype == "uint8" and any(getattr(each, "winograd", 0) for each in stages):
        return
    approximation = str(replace(parse(name), number_format=number_format.name))
    reads = Form(number_format.input_dtype, _read_width(known, layer, stages))
    draft = Variant(layer, approximation, reads, writes, ())
    shaped = known.stages_of(draft)
    rectified = rectifies(known.network[layer], known.contexts[layer].output_qparams)
    if rectified and writes.dtype == "uint8" and isinstance(shaped[-1], Interpolate):
        return
    if name == EXACT or not writes.channels or saves(shaped, known.whole_of(draft)):
        found = kernels(shaped, reads.dtype, writes.dtype, number_format.storage, rectifies=rectified)
        plain_ones = kernels(shaped, reads.dtype, writes.dtype, rectifies=rectified)
        if not number_format.storage or found != plain_ones:
            yield replace(draft, kernels=found)


def _read_width(known: Catalogue, layer: str, stages: Stages) -> int:
    """How many channels the tensor has that such stages read; 0 is all, of which they may select some."""
    first, producer = stages[0], known.network[layer].inputs[0]
    if not isinstance(first, Convolve) or first.index is None or not known.kept[producer]:
        return 0
    return len(first.index)


def _plain(
    known: Catalogue, layer: Layer, number_format: NumberFormat, written: Sequence[Form]
) -> Iterator[Variant]:
    (height, width, _), (rows, columns, _) = layer.input_shape, layer.output_shape
    reads = number_format.input_dtype
    for form in written:
        if layer.op == "input" and form.dtype != reads:
            continue
        narrow = layer
        if form.channels:
            shapes = ((height, width, form.channels), (rows, columns, form.channels))
            narrow = replace(layer, input_shape=shapes[0], output_shape=shapes[1])
        stored = known.contexts[layer.name].output_qparams
        if (found := plain.kernels(narrow, reads, form.dtype, stored)) is not None:
            read = Form("float32" if layer.op == "input" else reads, form.channels)
            yield Variant(layer.name, number_format.name, read, form, found)
