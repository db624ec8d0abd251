"""A latency model as plain data and back: JSON, with XGBoost's own JSON inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import xgboost

from cost_model.features import Sample
from cost_model.latency import FORMAT, LatencyModel
from cost_model.neighbours import Neighbours
from cost_model.residual import Residual
from cost_model.roofline import Roofline
from network.variants import Work

TUPLES = ("tile", "input_shape", "output_shape", "window", "stride")


def to_json(model: LatencyModel) -> dict[str, Any]:
    """What ``json`` can write."""
    residual = model.residual
    return {
        "format": FORMAT,
        "version": model.version,
        "rooflines": {name: asdict(each) for name, each in model.rooflines.items()},
        "quantiles": dict(model.quantiles),
        "quantiles_below": dict(model.quantiles_below),
        "seen": sorted(map(list, model.seen)),
        "operators": residual.operators,
        "boosters": [json.loads(each.save_raw("json")) for each in residual.boosters],
        "samples": [asdict(each) for each in residual.neighbours.samples],
        "logs": residual.neighbours.logs.tolist(),
    }


def from_json(content: Mapping[str, Any]) -> LatencyModel:
    """The model; raises ValueError, KeyError or TypeError for what ``to_json`` does not give."""
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, expected {FORMAT}")
    samples = [_sample(each) for each in content["samples"]]
    neighbours = Neighbours.fit(samples, np.array(content["logs"], dtype=np.float64))
    boosters = [
        xgboost.Booster(model_file=bytearray(json.dumps(each).encode())) for each in content["boosters"]
    ]
    return LatencyModel(
        rooflines={name: Roofline(**each) for name, each in content["rooflines"].items()},
        residual=Residual(tuple(boosters), tuple(content["operators"]), neighbours),
        quantiles=dict(content["quantiles"]),
        quantiles_below=dict(content["quantiles_below"]),
        seen=frozenset((name, kernel) for name, kernel in content["seen"]),
        version=str(content["version"]),
    )


def _sample(plain: Mapping[str, Any]) -> Sample:
    tuples = {name: tuple(plain[name]) for name in TUPLES}
    return Sample(**{**plain, **tuples, "work": Work(**plain["work"])})
