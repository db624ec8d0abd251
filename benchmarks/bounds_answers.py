"""Our answers to triples of bounds: solved, certified, deployed, and run again in fresh sessions.

Triples that lead to the same configuration of a device share its bundle, the run that certified it and the
fresh one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bounds_triples import Triple
from benchmarks.jobs import run_file
from cluster.certify import renewed
from cluster.decision import Finished
from cluster.device_result import DeviceResult
from cluster.job import load_inputs
from cluster.outputs import RunFolder, prepare, read_result, write_atomically, write_result
from cluster.progress import ProgressView
from cluster.run import Execution
from cluster.selection import selection_of
from cluster.settings import load_run_file
from cluster.site import Site
from cluster.tables import console
from cluster.verify import run_bundle
from cost_model.store import Store
from network.answers import count_right
from runtime.configuration import Certificate
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.failure import Failure
from workers.device import DeviceDriver
from workers.sources import accuracy_versions

FRESH = "fresh.json"
Due = Callable[[], bool]
"""Whether time is up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a triple got; ``fresh`` is the certificate of a later session, without an answer its reason."""

    triple: Triple
    result: DeviceResult | None
    fresh: Certificate | None = None
    reason: str = ""

    @property
    def feasible(self) -> bool:
        """Whether a configuration was handed over that is said to keep its bounds."""
        certificate = self.result.certificate if self.result else None
        return certificate is not None and certificate.verdict == "holds"

    @property
    def violated(self) -> tuple[str, ...]:
        """The bounds that were said to hold and that the fresh session broke."""
        if not self.feasible or self.fresh is None:
            return ()
        return self.triple.goal.bounds.resolve(self.fresh.exact).violated(self.fresh.costs)

    @property
    def loss_pp(self) -> float | None:
        """On the evaluation samples, where the bounds are kept."""
        certificate = self.result.certificate if self.result else None
        return certificate.loss_pp if self.feasible and certificate else None

    @property
    def word(self) -> str:
        """For the table."""
        if self.result is None:
            return self.reason or "not solved"
        if not self.feasible:
            return "infeasible, best effort" if self.result.nearest else self.result.verdict
        return (
            "not run afresh"
            if self.fresh is None
            else f"VIOLATED {self.violated}"
            if self.violated
            else "holds"
        )


def known_answer(triple: Triple, out: Path) -> Answer:
    """What earlier calls with the same sources have found out."""
    folder = triple.folder(out)
    if not folder.configuration(triple.device).is_file():
        return Answer(triple, None)
    result = read_result(folder, triple.device)
    certificate = result.certificate
    if certificate is None or certificate.versions["results"] != accuracy_versions():
        return Answer(triple, None, reason="an older version's")
    return Answer(triple, result, read_fresh(deployment(result, triple, out)))


def solve(triples: Sequence[Triple], site: Site, store: Store, out: Path, due: Due) -> dict[Triple, str]:
    """Hand over what is not there yet, all classes of a point together; the reasons where nothing was."""
    reasons: dict[Triple, str] = {}
    for point in dict.fromkeys(each.bounds for each in triples):
        missing = {
            each.device_class: each
            for each in triples
            if each.bounds == point and known_answer(each, out).result is None
        }
        if due():
            break
        if missing:
            reasons |= _solve(missing, site, store, out)
    return reasons


def _solve(missing: Mapping[str, Triple], site: Site, store: Store, out: Path) -> dict[Triple, str]:
    triple = next(iter(missing.values()))
    folder, goals = triple.folder(out), {name: each.goal for name, each in missing.items()}
    execution = Execution(site, run_file(triple.network), folder, store, goals)
    screen = console()
    screen.print(f"{triple.network} {triple.goal}: {', '.join(missing)}", markup=False)
    with ProgressView(screen) as view:
        outcomes = execution.settle(view).outcomes
    reasons: dict[Triple, str] = {}
    for device, outcome in outcomes.items():
        each = missing[DeviceKey.parse(device).device_class]
        if isinstance(outcome, Finished):
            result = execution.result(device, outcome)
            write_result(folder, execution.deploy(result, deployment(result, each, out)))
        else:
            reasons[each] = outcome
    return reasons


def deployment(result: DeviceResult, triple: Triple, out: Path) -> RunFolder:
    """Where the bundle of a configuration is, whichever triples led to it."""
    key = selection_of(result.configuration).key
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return prepare(out / "deployed", f"{triple.network}-{triple.device_class}-{digest}")


def run_afresh(answers: Iterable[Answer], tracker: Address, out: Path, due: Due, *, counted: bool) -> None:
    """A new session for every configuration that has none; ``counted``: it answers all evaluation samples."""
    samples = {}
    for each in answers:
        if each.result is None or each.result.certificate is None or due():
            continue
        folder, name = deployment(each.result, each.triple, out), each.triple.network
        if read_fresh(folder) is not None:
            continue
        job = load_run_file(run_file(name))
        if name not in samples:
            evaluation = load_inputs(job).evaluation
            samples[name] = evaluation if counted else evaluation.take(1)
        driver = DeviceDriver(tracker, DeviceKey.parse(each.triple.device))
        outcome = run_bundle(folder, driver, samples[name], job.verify.runs)
        if isinstance(outcome, Failure):
            console().print(f"{folder.path}: {outcome}", markup=False)
            continue
        accuracy, count = each.result.certificate.accuracy, each.result.certificate.samples
        if counted:
            right, count = count_right(outcome.answers, samples[name].right)
            accuracy = right / count
        write_fresh(folder, renewed(each.result, outcome, accuracy, count))


def read_fresh(folder: RunFolder) -> Certificate | None:
    """The certificate of the fresh session, if there was one."""
    path = folder.path / FRESH
    return Certificate.from_dict(json.loads(path.read_text())) if path.is_file() else None


def write_fresh(folder: RunFolder, certificate: Certificate) -> None:
    """Keep it; its verdict is that of one triple, and each judges for itself."""
    plain = replace(certificate, verdict="holds").to_dict()
    write_atomically(folder.path / FRESH, json.dumps(plain) + "\n")


def forget_fresh(answers: Iterable[Answer], out: Path) -> None:
    """Let the next sessions be fresh ones."""
    for each in answers:
        if each.result is not None:
            (deployment(each.result, each.triple, out).path / FRESH).unlink(missing_ok=True)
