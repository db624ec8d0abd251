"""Re-evaluation of a suffix: only the layers run whose outputs are not known from a configuration before.

Configurations that are tried one after another mostly share their first layers. What a layer writes for the
same samples depends on its parameters and on what it reads alone, so it is kept by a key of just that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.answers import Answers
from network.assemble import check_choices
from network.execute import SAMPLES, Executor, answers_of, first_tiles, samples_of
from network.isa import Isa
from network.layers import Layer, Network
from network.recent import Recent, chained, fitted_key
from network.variants import Fitted

Outputs = NDArray[Any]
"""What a layer writes for every sample, ``(n, height, width * channels)``."""


def answers_behind(
    network: Network,
    fitted: Mapping[str, Fitted],
    inputs: Sequence[NDArray[np.float32]],
    executor: Executor,
    recent: Recent[Outputs],
) -> Answers:
    """A configuration's answers ``(n, *shape)`` to samples ``(n, channels, height, width)`` of each input.

    ``recent``, of these samples alone, holds outputs of layers of earlier configurations, and keeps those of
    this one. Raises NetworkError where variants do not fit each other.
    """
    isa = executor.target.isa
    check_choices(network, {name: first_tiles(each, isa) for name, each in fitted.items()})
    keys = _keys(network.layers, fitted)
    answering = {each.layer for each in network.outputs}
    known, behind = _split(network, keys, answering, recent)
    count = len(inputs[0])
    # A layer without kernels writes nothing of its own.
    writing = (name for name in behind if fitted[name].steps)
    kept = {name for name in writing if recent.welcomes(count * _output_bytes(fitted[name], isa))}
    written = _run(
        network, {name: fitted[name] for name in behind}, inputs, known, answering | kept, executor
    )
    for name in sorted(kept & written.keys()):
        recent.keep(keys[name], written[name], written[name].nbytes)
    return answers_of(network, known | written)


def _keys(layers: Iterable[Layer], fitted: Mapping[str, Fitted]) -> dict[str, str]:
    """Of each layer's outputs: its own parameters, and everything ahead of it."""
    keys: dict[str, str] = {}
    for layer in layers:
        ahead = (keys[name] for name in layer.inputs)
        keys[layer.name] = chained(layer.name, fitted_key(fitted[layer.name]), behind=ahead)
    return keys


def _split(
    network: Network, keys: Mapping[str, str], answering: Iterable[str], recent: Recent[Outputs]
) -> tuple[dict[str, Outputs], set[str]]:
    """Outputs that are known and read by what must run, and what must run for the answers."""
    known: dict[str, Outputs] = {}
    behind: set[str] = set()
    left = list(answering)
    while left:
        name = left.pop()
        if name in known or name in behind:
            continue
        if (outputs := recent.get(keys[name])) is not None:
            known[name] = outputs
        else:
            behind.add(name)
            left.extend(network[name].inputs)
    return known, behind


def _run(
    network: Network,
    fitted: Mapping[str, Fitted],
    inputs: Sequence[NDArray[np.float32]],
    known: Mapping[str, Outputs],
    wanted: Iterable[str],
    executor: Executor,
) -> dict[str, Outputs]:
    """Outputs of the wanted ones among the layers that must run."""
    if not fitted:
        return {}
    samples = samples_of(network, inputs)
    read = {source for name in fitted for source in network[name].inputs or (SAMPLES + name,)}
    given = {name: x for name, x in (samples | dict(known)).items() if name in read}
    # In the network's order, so that equal configurations run equally.
    ordered = [each.name for each in network.layers if each.name in fitted and each.name in set(wanted)]
    return executor.run_layers(network, fitted, given, ordered)


def _output_bytes(fitted: Fitted, isa: Isa) -> int:
    """Of one sample."""
    return fitted.steps[-1].kernel.arguments(isa)[-1].nbytes
