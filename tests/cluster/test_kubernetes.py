"""The RayJob in ``examples/kubernetes`` is one that KubeRay takes."""

from __future__ import annotations

import copy
import gzip
import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cluster.cli import main

RAYJOB = Path(__file__).parents[2] / "examples" / "kubernetes" / "rayjob.yaml"
SCHEMA = Path(__file__).parent / "data" / "rayjob_crd_v1.json.gz"
OPEN = "x-kubernetes-preserve-unknown-fields"


@pytest.fixture(scope="module")
def crd() -> dict[str, Any]:
    return json.loads(gzip.decompress(SCHEMA.read_bytes()))


@pytest.fixture(scope="module")
def validator(crd: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(strict(crd["openAPIV3Schema"]))


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load(RAYJOB.read_text())


def strict(schema: Any) -> Any:
    """As `kubectl apply --validate=strict` has it: what the schema does not name is an error."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(each) for name, each in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed and OPEN not in closed:
        closed["additionalProperties"] = False
    return closed


def test_it_is_of_the_kind_that_the_schema_describes(crd: dict[str, Any], job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == (f"{crd['group']}/{crd['version']}", crd["kind"])


def test_it_is_valid(validator: jsonschema.Draft202012Validator, job: dict[str, Any]) -> None:
    validator.check_schema(validator.schema)
    assert [each.message for each in validator.iter_errors(job)] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda spec: spec.update(entrypiont="x"), "entrypiont"),
        (lambda spec: spec.update(entrypointNumCpus="two"), "is not of type 'number'"),
        (lambda spec: spec["rayClusterSpec"].pop("headGroupSpec"), "'headGroupSpec' is a required property"),
        (lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0].update(replicas=-1.5), "is not of type"),
    ],
)
def test_what_is_wrong_is_found(
    validator: jsonschema.Draft202012Validator, job: dict[str, Any], change: Any, complaint: str
) -> None:
    wrong = copy.deepcopy(job)
    change(wrong["spec"])
    assert any(complaint in each.message for each in validator.iter_errors(wrong))


def test_its_ray_is_the_one_that_is_installed(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    assert f"rayproject/ray:{version('ray')}-py311" in RAYJOB.read_text()


def test_its_command_is_one_of_ours(job: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the run file, which is not here."""
    python, option, module, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, option, module) == ("python", "-m", "cluster")
    assert main(arguments) != 0
    assert "/job/run.yaml" in capsys.readouterr().err
