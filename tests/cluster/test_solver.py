"""The solver against every configuration there is, on small problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, product
from math import inf
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.binary_program import BinaryProgram, minimise
from cluster.dominance import undominated
from cluster.frontier import frontier
from cluster.integer_program import IntegerProgram
from cluster.solver import (
    Infeasible,
    Limits,
    Objective,
    Option,
    Problem,
    Solution,
    Solver,
    SolverError,
    Totals,
    solve,
    totals_of,
)

OBJECTIVES: tuple[Objective, ...] = ("latency", "memory", "storage", "divergence")
FORMS = ("f32", "u8", "u8/8")


@st.composite
def options(draw: st.DrawFn, layer: int, variant: int) -> Option:
    # Few distinct values: ties, dominance and exact hits of a bound are what could go wrong.
    small = st.integers(0, 6)
    return Option(
        layer=f"layer {layer}",
        variant=f"variant {variant}",
        latency_s=draw(small) * 1.7e-5,
        parameter_bytes=draw(small) * 1000,
        live_bytes=draw(small) * 1000,
        output_bytes=draw(small) * 500,
        storage_bytes=draw(small) * 1000,
        divergence=draw(small) * 3e-4,
        reads=draw(st.sampled_from(FORMS)),
        writes=draw(st.sampled_from(FORMS)),
    )


CHAIN = ((0, 1), (1, 2), (2, 3))
BRANCHES = ((0, 1), (0, 2), (1, 3), (2, 3))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    layers = tuple(
        tuple(draw(options(layer, variant)) for variant in range(size)) for layer, size in enumerate(sizes)
    )
    cut = st.tuples(*(st.sampled_from([each.variant for each in layer]) for layer in layers))
    return Problem(
        layers,
        edges=tuple(each for each in draw(st.sampled_from([CHAIN, BRANCHES])) if max(each) < len(layers)),
        held=tuple(
            tuple(draw(st.sets(st.integers(0, index - 1)))) if index else () for index in range(len(layers))
        ),
        latency_offset_s=draw(st.sampled_from([0.0, 2.1e-5])),
        memory_offset_bytes=draw(st.sampled_from([0, 700, -300])),
        storage_offset_bytes=draw(st.sampled_from([0, 500])),
        forbidden=tuple(draw(st.lists(cut, max_size=3))),
    )


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    bound = st.one_of(st.none(), st.integers(1, 20))
    latency, memory, storage, divergence = (draw(bound) for _ in range(4))
    return Limits(
        None if latency is None else latency * 1.7e-5,
        None if memory is None else memory * 1000,
        None if storage is None else storage * 1000,
        None if divergence is None else divergence * 3e-4,
    )


def every_configuration(problem: Problem) -> Iterator[Totals]:
    for choice in product(*(range(len(layer)) for layer in problem.layers)):
        chosen = [layer[index] for layer, index in zip(problem.layers, choice, strict=True)]
        agree = all(chosen[a].writes == chosen[b].reads for a, b in problem.edges)
        if agree and tuple(each.variant for each in chosen) not in problem.forbidden:
            yield totals_of(problem, choice)


def violation(totals: Totals, bounds: Limits) -> float:
    return max([0.0, *((totals.of(name) - bound) / bound for name, bound in bounds.given().items())])


@settings(max_examples=150, deadline=None)
@given(problem=problems(), bounds=limits(), objective=st.sampled_from(OBJECTIVES))
def test_the_solution_is_the_best_of_all_configurations(
    problem: Problem, bounds: Limits, objective: Objective
) -> None:
    everything = list(every_configuration(problem))
    allowed = [each for each in everything if bounds.allow(each)]
    outcome = solve(problem, bounds, objective)
    if not allowed:
        assert isinstance(outcome, Infeasible)
        check_diagnosis(problem, bounds, everything, outcome)
        return
    assert isinstance(outcome, Solution)
    assert outcome.totals in allowed
    assert outcome.totals == totals_of(problem, outcome.choice)
    assert outcome.gap == 0
    best = min(each.of(objective) for each in allowed)
    assert outcome.totals.of(objective) == pytest.approx(best, rel=1e-6, abs=1e-12)
    fastest_of_best = min(each.latency_s for each in allowed if each.of(objective) <= best + 1e-9 * abs(best))
    assert outcome.totals.latency_s == pytest.approx(fastest_of_best)


def check_diagnosis(problem: Problem, bounds: Limits, everything: list[Totals], outcome: Infeasible) -> None:
    for name in bounds.given():
        others = bounds.without(name)
        near = min((each.of(name) for each in everything if others.allow(each)), default=None)
        assert outcome.nearest[name] == (None if near is None else pytest.approx(near))
        if near is not None and near > 0:
            relaxed = replace(others, **{f"{name}{UNITS[name]}": outcome.nearest[name]})
            assert isinstance(solve(problem, relaxed), Solution)
    if not everything:
        assert outcome.best_effort is None
        return
    assert outcome.best_effort is not None
    least = min(violation(each, bounds) for each in everything)
    assert violation(outcome.best_effort.totals, bounds) == pytest.approx(least, rel=1e-6, abs=1e-9)


UNITS = {"latency": "_s", "memory": "_bytes", "storage": "_bytes", "divergence": ""}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), objective=st.sampled_from(OBJECTIVES))
def test_one_solver_answers_every_question_as_the_integer_program_does(
    seed: int, objective: Objective
) -> None:
    problem = drawn(Random(seed), layers=7, variants=10)
    solver, program = Solver(problem), IntegerProgram(problem, 30.0)
    low, high = (each.of for each in (least_of_each(program), totals_of(problem, exact(problem))))
    for share in (0.1, 0.5):
        bounds = {name: low(name) + share * (high(name) - low(name)) for name in OBJECTIVES[:3]}
        limits = Limits(*bounds.values(), divergence=None if objective == "divergence" else 0.02)
        expected, outcome = program.minimise(objective, limits), solver.minimise(objective, limits)
        assert (outcome is None) == (expected is None)
        if outcome and expected:
            assert outcome.totals.of(objective) == pytest.approx(expected.totals.of(objective), rel=1e-6)
            assert outcome.gap == 0


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_an_allowed_gap_is_kept_and_told(seed: int) -> None:
    problem = drawn(Random(seed), layers=7, variants=10)
    solver, program = Solver(problem, gap=0.05), IntegerProgram(problem, 30.0)
    for share in (0.4, 0.7):
        most = totals_of(problem, exact(problem))
        limits = Limits(share * most.latency_s, share * most.memory_bytes)
        outcome, best = solver.minimise("divergence", limits), program.minimise("divergence", limits)
        assert (outcome is None) == (best is None)
        if outcome and best:
            assert limits.allow(outcome.totals)
            assert outcome.totals.divergence * (1 - outcome.gap) <= best.totals.divergence * (1 + 1e-9)


def drawn(random: Random, layers: int, variants: int) -> Problem:
    """Faster, smaller and worse in different proportions, with two forms and a branch in the middle."""

    def one(layer: int, variant: int) -> Option:
        share = variant / variants
        form = FORMS[variant % 2]
        return Option(
            f"layer {layer}",
            f"{variant}",
            1e-5 * (1 + layer % 3) * (1 - share) * random.uniform(0.8, 1.2) + 1e-6,
            parameter_bytes=round(5000 * (1 - share) * random.uniform(0.5, 1.5)),
            live_bytes=random.randrange(1000, 9000),
            output_bytes=1000 if form == "f32" else 250,
            storage_bytes=round(5000 * (1 - share) * random.uniform(0.5, 1.5)),
            divergence=0.01 * share**2 * random.uniform(0.5, 1.5),
            reads=FORMS[random.randrange(2)] if variant else "f32",
            writes=form if variant else "f32",
        )

    middle = layers // 2
    edges = {(each, each + 1) for each in range(layers - 1)} | {(middle - 2, middle)}
    held = tuple((middle - 2,) if each == middle - 1 else () for each in range(layers))
    table = tuple(tuple(one(layer, each) for each in range(variants)) for layer in range(layers))
    return Problem(table, tuple(sorted(edges)), held)


def exact(problem: Problem) -> tuple[int, ...]:
    return (0,) * len(problem.layers)


def least_of_each(program: IntegerProgram) -> Totals:
    least = {name: program.minimise(name, Limits()) for name in OBJECTIVES}
    return Totals(*(each.totals.of(name) if each else 0 for name, each in least.items()))  # type: ignore[arg-type]


def unbeaten(everything: list[Totals], *names: Objective) -> set[tuple[float, ...]]:
    """What nothing beats in these, rounded so that sums in another order are the same."""
    costs = {tuple(float(f"{each.of(name):.9e}") for name in names) for each in everything}
    return {
        each
        for each in costs
        if not any(all(a <= b for a, b in zip(other, each, strict=True)) and other != each for other in costs)
    }


def points_of(problem: Problem, *names: Objective, **how: float) -> set[tuple[float, ...]]:
    found = frontier(problem, **how)  # type: ignore[arg-type]
    assert [each.totals.latency_s for each in found] == sorted(each.totals.latency_s for each in found)
    assert all(each.totals == totals_of(problem, each.choice) for each in found)
    return {tuple(float(f"{each.totals.of(name):.9e}") for name in names) for each in found}


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_the_frontier_is_everything_that_nothing_beats(problem: Problem) -> None:
    everything = list(every_configuration(problem))
    assert points_of(problem, "latency", "divergence") == unbeaten(everything, "latency", "divergence")


@settings(max_examples=25, deadline=None)
@given(problem=problems(), levels=st.integers(2, 4))
def test_below_each_level_of_memory_the_frontier_is_exact_too(problem: Problem, levels: int) -> None:
    everything = list(every_configuration(problem))
    points = points_of(problem, "latency", "divergence", "memory", memory_levels=levels)
    if not everything:
        assert not points
        return
    below = min(each.memory_bytes for each in everything)
    for bound in (below, inf):
        within = [each for each in everything if each.memory_bytes <= bound]
        assert unbeaten(within, "latency", "divergence") <= {
            (latency, divergence) for latency, divergence, memory in points if memory <= bound
        }
    assert points <= unbeaten(everything, "latency", "divergence", "memory")


def test_with_a_resolution_every_step_has_its_best() -> None:
    problem = many_layers(10, 12)
    whole, thinned = frontier(problem), frontier(problem, resolution=0.1)
    assert len(thinned) <= 11 < len(whole)
    ends = whole[0].totals.latency_s, whole[-1].totals.latency_s
    for bound_s in np.linspace(*ends, 11):
        least = [
            min(each.totals.divergence for each in some if each.totals.latency_s <= bound_s * (1 + 1e-12))
            for some in (whole, thinned)
        ]
        assert least[0] == least[1]


@settings(max_examples=100, deadline=None)
@given(
    columns=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=9
    ),
    room=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    core_size=st.integers(1, 4),
)
def test_ruling_columns_out_keeps_the_optimum(
    columns: list[tuple[int, int, int]], room: tuple[int, int], core_size: int
) -> None:
    cost, *weights = np.array(columns, dtype=np.float64).T
    program = BinaryProgram(
        cost=1e5 * cost,
        coefficients=np.stack([np.ones(len(columns)), *weights]),
        lower=np.array([2.0, -np.inf, -np.inf]),
        upper=np.array([2.0, *room]),
        continuous=0,
    )
    pairs = combinations(range(len(columns)), 2)
    fit = [
        pair
        for pair in pairs
        if all(each[list(pair)].sum() <= most for each, most in zip(weights, room, strict=True))
    ]
    answer = minimise(program, core_size, time_limit_s=30.0)
    if not fit:
        assert answer is None
        return
    assert answer is not None
    assert tuple(answer.chosen.tolist()) in fit
    assert answer.cost == pytest.approx(1e5 * min(cost[list(pair)].sum() for pair in fit), abs=1e-3)


def option(variant: str, latency_s: float, divergence: float, **others: object) -> Option:
    costs = {"parameter_bytes": 10, "live_bytes": 10, "output_bytes": 5, "storage_bytes": 10}
    types = {"reads": "f32", "writes": "f32"}
    return Option("layer", variant, latency_s, divergence=divergence, **{**costs, **types, **others})  # type: ignore[arg-type]


def test_an_option_that_is_worse_in_everything_is_dropped_unless_a_cut_may_need_it() -> None:
    choices = [
        option("good", 1e-5, 0.1),
        option("bad", 2e-5, 0.2),
        option("other", 2e-5, 0.2, reads="u8"),
    ]
    assert undominated(choices, frozenset()).tolist() == [0, 2]
    assert undominated(choices, frozenset({"good"})).tolist() == [0, 1, 2]


def test_of_equal_options_one_stays() -> None:
    assert undominated([option(name, 1e-5, 0.1) for name in "abc"], frozenset()).tolist() == [0]


def test_a_cut_brings_the_next_best_even_if_the_first_dominates_it() -> None:
    layer = (option("good", 1e-5, 0.1), option("bad", 2e-5, 0.2))
    problem = Problem((layer, layer), edges=((0, 1),), forbidden=(("good", "good"),))
    outcome = solve(problem, Limits())
    assert isinstance(outcome, Solution)
    assert sorted(outcome.variants) == ["bad", "good"]


def test_the_peak_counts_all_parameters_and_one_live_set() -> None:
    layers = (
        (option("a", 1e-5, 0.0, parameter_bytes=100, live_bytes=30),),
        (option("b", 1e-5, 0.0, parameter_bytes=200, live_bytes=50),),
    )
    problem = Problem(layers, edges=((0, 1),), memory_offset_bytes=7)
    assert totals_of(problem, (0, 0)).memory_bytes == 7 + 300 + 50
    assert isinstance(solve(problem, Limits(memory_bytes=357)), Solution)
    outcome = solve(problem, Limits(memory_bytes=356))
    assert isinstance(outcome, Infeasible)
    assert outcome.nearest == {"memory": 357}


def many_layers(count: int, variants: int) -> Problem:
    """Each variant trades latency against divergence, by an amount that differs from layer to layer."""
    layers = tuple(
        tuple(
            option(
                f"{degree}",
                1e-4 * (1 + (7 * layer) % 5) * (1 - degree / variants),
                1e-3 * (1 + (3 * layer) % 4) * (degree / variants) ** 2,
                reads=FORMS[degree % 2] if layer else "f32",
                writes=FORMS[(degree // 2) % 2] if layer + 1 < count else "f32",
            )
            for degree in range(variants)
        )
        for layer in range(count)
    )
    return Problem(layers, edges=tuple((index, index + 1) for index in range(count - 1)))


def test_a_deep_network_is_solved_to_the_optimum_though_most_variants_are_ruled_out_first() -> None:
    # One type throughout: then the best configuration can be found by hand, by dynamic programming.
    problem = many_layers(16, 40)
    loose = Problem(
        tuple(tuple(replace(each, reads="f32", writes="f32") for each in layer) for layer in problem.layers),
        problem.edges,
    )
    bound_s = 2.0e-3
    outcome = solve(loose, Limits(latency_s=bound_s))
    assert isinstance(outcome, Solution)
    assert outcome.totals.divergence == pytest.approx(least_divergence(loose, bound_s))


def least_divergence(problem: Problem, bound_s: float) -> float:
    """Latencies here are whole multiples of 2.5 us."""
    best = {0: 0.0}
    for layer in problem.layers:
        following: dict[int, float] = {}
        for spent, divergence in best.items():
            for each in layer:
                total = spent + round(each.latency_s / 2.5e-6)
                following[total] = min(following.get(total, 1.0), divergence + each.divergence)
        best = following
    return min(divergence for spent, divergence in best.items() if spent <= round(bound_s / 2.5e-6))


def test_more_latency_never_costs_accuracy() -> None:
    problem = many_layers(10, 12)
    divergences = []
    for bound_s in (1.5e-3, 2e-3, 2.5e-3):
        outcome = solve(problem, Limits(latency_s=bound_s))
        assert isinstance(outcome, Solution)
        divergences.append(outcome.totals.divergence)
    assert divergences == sorted(divergences, reverse=True)
    assert divergences[0] > divergences[-1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Problem((((), ())), ()), "needs options"),
        (lambda: Problem(((option("a", 1e-5, 0.0), option("a", 2e-5, 0.0)),), ()), "different variants"),
        (lambda: Problem(((option("a", float("nan"), 0.0),),), ()), "not finite"),
        (lambda: Problem(((option("a", 1e-5, 0.0),),), (), forbidden=(("a", "a"),)), "1 layers"),
        (
            lambda: solve(Problem(((option("a", 1e-5, 0.0),),), ()), Limits(latency_s=0.0)),
            "latency bound is 0.0",
        ),
    ],
)
def test_wrong_input_is_named(make: object, words: str) -> None:
    with pytest.raises(SolverError, match=words):
        make()  # type: ignore[operator]


def test_an_infinite_bound_is_none() -> None:
    problem = many_layers(3, 4)
    assert solve(problem, Limits(divergence=float("inf"))) == solve(problem, Limits())


def test_time_that_is_up_with_nothing_in_hand_is_an_error_not_an_answer() -> None:
    with pytest.raises(SolverError, match="raise the time limit"):
        solve(many_layers(30, 40), Limits(latency_s=4e-3), time_limit_s=1e-9)
