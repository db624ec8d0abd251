"""A simulated device: what its kernels, its runs and its samples would show, all of one mind."""

from dataclasses import dataclass, field
from math import exp
from random import Random

from cluster.decision import (
    Decision,
    Finished,
    NeedEvaluation,
    NeedMeasurements,
    NeedRun,
    Policy,
    Spent,
    decide,
    is_uniform,
)
from cluster.goal import Goal, Objective
from cluster.joint_loss import JointLoss
from cluster.model import Knowledge, Run, planned_peak_bytes
from cluster.selection import Selection, candidates_of, requests_of, selected
from cluster.table import Table
from cost_model.accuracy import EXACT, AccuracyModel
from cost_model.measurement import Evaluation, configuration_key
from runtime.bounds import Bounds
from runtime.configuration import Costs

SAMPLES = 10_000
EXACT_CORRECT = 9_000
PATIENT = Policy(rounds=5, headroom=0.05)


@dataclass(frozen=True)
class Truth:
    """How the world is made; drawn from ``seed``."""

    seed: int
    table: Table
    overhead_s: float = 2e-5
    noise: float = 0.05
    """Of whole runs, as the standard deviation of a factor."""
    guess: float = 0.3
    """Error of predicted kernels, likewise."""
    failing: float = 0.0
    """Share of kernels that do not work, those of the exact configuration aside."""
    harsher: float = 1.0
    """What is lost on evaluation samples, by what is lost on calibration samples."""

    def draw(self, *about: object) -> Random:
        """The same for the same thing."""
        return Random(f"{self.seed} {about}")

    def works(self, request: str) -> bool:
        needed = {
            each
            for candidate in self.table.uniform(EXACT)
            for step in candidate.steps
            for each in step.requests
        }
        return request in needed or self.draw("works", request).random() >= self.failing

    def kernel_s(self, request: str) -> float:
        work = self.table.samples[request].work
        speed = 4e9 if self.table.samples[request].integer else 1e9
        return (1e-6 + work.macs / speed) * self.draw("kernel", request).uniform(0.7, 1.4)

    def guess_s(self, request: str) -> float:
        return self.kernel_s(request) * exp(self.draw("guess", request).gauss(0, self.guess))

    def divergence(self, layer: str, approximation: str) -> float:
        if approximation == EXACT:
            return 0.0
        lossy = "channels" in approximation
        return self.draw("divergence", layer, approximation).uniform(0.2, 2.0) * (0.02 if lossy else 0.0005)

    def correct(self, selection: Selection, samples: str) -> int:
        """Of ``SAMPLES``; the samples that choices are made on and those that count differ a little."""
        layers = [(each.layer, each.approximation) for each in candidates_of(self.table, selection)]
        total = sum(self.divergence(*each) for each in layers)
        luck = self.draw("answers", samples, tuple(layers)).uniform(0.8, 1.2)
        luck *= self.harsher if samples == "evaluation" else 1.0
        return EXACT_CORRECT - round(SAMPLES * min(0.8, 0.5 * total * luck))

    def costs(self, selection: Selection, accuracy: float, session: float) -> Costs:
        kernels = sum(self.kernel_s(each) for each in requests_of(self.table, selection))
        parameters = sum(each.parameter_bytes for each in candidates_of(self.table, selection))
        return Costs(
            latency_s=(1.1 * kernels + self.overhead_s) * session,
            peak_bytes=planned_peak_bytes(self.table, selection) + 50_000,
            storage_bytes=parameters + 30_000,
            loss_pp=100 * (EXACT_CORRECT / SAMPLES - accuracy),
            accuracy=accuracy,
        )


@dataclass
class World:
    """One device, walked from nothing to its outcome."""

    truth: Truth
    bounds: Bounds
    policy: Policy = PATIENT
    settled: set[str] = field(default_factory=set)
    joint: dict[tuple[str, ...], JointLoss] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    objective: Objective = "loss"
    rounds: int = 0
    evaluated: int = 0
    walked: list[Decision] = field(default_factory=list)
    budget: bool = False
    """Whether it is spent."""

    def __post_init__(self) -> None:
        self.joint[self.truth.table.uniform_variants(EXACT)] = JointLoss(0.0, 0.0, SAMPLES)
        self.evaluations = [self._evaluation({}, EXACT_CORRECT, 0.0)]
        for candidates in self.truth.table.layers:
            for layer, name in dict.fromkeys((each.layer, each.approximation) for each in candidates):
                if name != EXACT:
                    divergence = self.truth.divergence(layer, name)
                    correct = EXACT_CORRECT - round(SAMPLES * min(0.8, 0.5 * divergence))
                    self.evaluations.append(self._evaluation({layer: name}, correct, divergence))

    def knowledge(self) -> Knowledge:
        table = self.truth.table
        accuracy = AccuracyModel.fit(self.evaluations)
        seconds = {each: self.truth.guess_s(each) for each in table.requests if each not in self.settled}
        seconds |= {each: self.truth.kernel_s(each) for each in self.settled if self.truth.works(each)}
        return Knowledge(
            latency_s=seconds,
            settled=frozenset(self.settled),
            at_best_s={each: 0.6 * seconds[each] for each in table.requests if each not in self.settled},
            divergence={
                (each.layer, each.approximation): accuracy.divergence({each.layer: each.approximation})
                for candidates in table.layers
                for each in candidates
            },
            joint=dict(self.joint),
            runs=tuple(self.runs),
            accuracy=accuracy,
        )

    def selected(self, variants: tuple[str, ...]) -> Selection:
        """These variants with the fastest tiles, as far as is known."""
        return selected(self.truth.table, variants, self.knowledge().latency_s)

    def summed(self, variants: tuple[str, ...]) -> float:
        """The divergence that the solver sees of a whole configuration."""
        chosen = candidates_of(self.truth.table, self.selected(variants))
        return sum(self.truth.divergence(each.layer, each.approximation) for each in chosen)

    def decide(self) -> Decision:
        goal, spent = Goal(self.bounds, self.objective), Spent(self.rounds, self.evaluated, self.budget)
        known = self.knowledge().measured() if self.budget else self.knowledge()
        return decide(self.truth.table, known, goal, self.policy, spent)

    def walk(self, most: int = 400) -> Finished:
        """To the end; nothing is ever asked for twice."""
        for _ in range(most):
            if isinstance(decision := self.step(), Finished):
                return decision
        raise AssertionError(f"no end after {most} decisions: {self.walked[-3:]}")

    def step(self) -> Decision:
        """One decision and what follows from it."""
        decision = self.decide()
        self.walked.append(decision)
        match decision:
            case NeedMeasurements(requests):
                assert requests
                assert self.settled.isdisjoint(requests)
                self.settled.update(requests)
            case NeedEvaluation(selection):
                assert selection.variants not in self.joint
                self._evaluate(selection)
            case NeedRun(selection):
                assert selection not in [each.selection for each in self.runs]
                self._run(selection)
        return decision

    def _evaluate(self, selection: Selection) -> None:
        chosen = candidates_of(self.truth.table, selection)
        divergence = sum(self.truth.divergence(each.layer, each.approximation) for each in chosen)
        correct = self.truth.correct(selection, "calibration")
        evaluation = self._evaluation({each.layer: each.key for each in chosen}, correct, divergence)
        self.evaluations.append(evaluation)
        self.joint[selection.variants] = JointLoss.beside(self.evaluations[0], evaluation)
        if not is_uniform(self.truth.table, selection.variants):
            self.evaluated += 1

    def _run(self, selection: Selection) -> None:
        assert all(self.truth.works(each) for each in requests_of(self.truth.table, selection))
        mood = self.truth.draw("session", len(self.runs))
        session = exp(mood.gauss(0, self.truth.noise))
        exact = self.runs[0].selection if self.runs else selection
        accuracy = self.truth.correct(selection, "evaluation") / SAMPLES
        costs = self.truth.costs(selection, accuracy, session * exp(mood.gauss(0, self.truth.noise / 5)))
        reference = self.truth.costs(exact, EXACT_CORRECT / SAMPLES, session)
        self.runs.append(Run(selection, costs, reference))
        if not is_uniform(self.truth.table, selection.variants):
            self.rounds += 1

    @staticmethod
    def _evaluation(variants: dict[str, str], correct: int, divergence: float) -> Evaluation:
        return Evaluation("n", "s", configuration_key(variants), "v", SAMPLES, correct, divergence)
