import json
from dataclasses import replace

import pytest

from runtime.configuration import Certificate, Configuration
from runtime.errors import RecordError


def test_the_key_says_what_each_layer_got(configuration):
    assert configuration.key == "input: exact f32>f32; ip1: int8+lowrank(1/2) f32>f32"
    assert configuration.device == "x86-64-v2.local"


def test_records_survive_json(configuration, certificate):
    assert Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))) == configuration
    assert Certificate.from_dict(json.loads(json.dumps(certificate.to_dict()))) == certificate


def test_an_opaque_layer_is_called_by_its_operator(configuration):
    first, second = configuration.layers
    assert "operator" not in configuration.to_dict()["layers"][1]
    opaque = replace(configuration, layers=(first, replace(second, operator="Einsum")))
    assert [each.label for each in opaque.layers] == ["exact", "opaque (Einsum)"]
    assert Configuration.from_dict(json.loads(json.dumps(opaque.to_dict()))) == opaque


def test_verified_costs_stand_beside_the_exact_ones(certificate):
    assert certificate.costs.loss_pp == 1.0
    assert certificate.exact.latency_s == 3.1e-4
    assert certificate.exact.loss_pp == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.pop("target"), "configuration has no target"),
        (lambda plain: plain.update(tarqet="llvm"), "configuration has the unknown tarqet"),
        (
            lambda plain: plain["layers"][1].update(tiles=[[8, "1"]]),
            r"layers\[1\].tiles\[0\]\[1\] is '1'.*of type int",
        ),
        (lambda plain: plain["layers"][0].update(measured=1), r"layers\[0\].measured is 1.*of type bool"),
        (lambda plain: plain["predicted"].update(peak_bytes=True), "predicted.peak_bytes is True"),
        (lambda plain: plain.update(layers=None), "configuration.layers is None.*of type list"),
    ],
)
def test_what_is_no_configuration_is_refused_with_the_path_to_it(configuration, change, message):
    plain = configuration.to_dict()
    change(plain)
    with pytest.raises(RecordError, match=message):
        Configuration.from_dict(plain)


def test_a_verdict_is_one_of_three(certificate):
    with pytest.raises(RecordError, match=r"verdict is 'maybe'.*'holds' or 'violated' or 'best effort'"):
        Certificate.from_dict(certificate.to_dict() | {"verdict": "maybe"})
