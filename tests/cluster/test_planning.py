"""Tables, and what to measure of them first."""

from itertools import pairwise

import pytest

from cluster.decision import UNIFORM
from cluster.planning import TILES_TO_CHOOSE_FROM, ClassPlan, common_requests, first_requests, plan_class
from tests.small_network import Small


def uniform(plan: ClassPlan) -> set[str]:
    return {
        request
        for name in UNIFORM
        for candidate in plan.table.uniform(name)
        for step in candidate.steps
        for request in step.requests
    }


def test_every_variant_is_a_candidate(small: Small, plan: ClassPlan):
    for candidates, (layer, variants) in zip(plan.table.layers, small.known.variants.items(), strict=True):
        assert [each.key for each in candidates] == [each.key for each in variants]
        assert {each.layer for each in candidates} == {layer}
        for candidate, variant in zip(candidates, variants, strict=True):
            assert [step.kernel for step in candidate.steps] == [each.key for each in variant.kernels]
            weights = sum(
                array.nbytes
                for step in small.known.fitted(variant).steps
                for array in step.parameters.values()
            )
            assert (candidate.parameter_bytes > 0) == (weights > 0)


def test_every_request_is_a_kernel_with_a_sample(plan: ClassPlan):
    steps = [step for layer in plan.table.layers for each in layer for step in each.steps]
    requests = {request for step in steps for request in step.requests}
    assert set(plan.kernels) == set(plan.table.samples) == set(plan.table.requests) == requests
    assert all(1 <= len(step.tiles) == len(step.requests) <= TILES_TO_CHOOSE_FROM for step in steps)
    for request, (kernel, tile) in plan.kernels.items():
        sample = plan.table.samples[request]
        assert (sample.kernel, sample.tile) == (request, tile)
        assert sample.work == kernel.work(plan.target.isa)
        assert sample.seconds is None


def test_integers_take_less_memory(plan: ClassPlan):
    exact, int8 = (sum(each.parameter_bytes for each in plan.table.uniform(name)) for name in UNIFORM)
    assert int8 < 0.6 * exact


def test_the_same_variants_give_the_same_table(small: Small, plan: ClassPlan):
    assert plan_class("lab", plan.target, small.known).table == plan.table


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_uniform_configurations_are_measured_whatever_is_predicted(plan: ClassPlan, share: float):
    requests = first_requests(plan.table, share)
    assert len(set(requests)) == len(requests)
    assert uniform(plan) <= set(requests) <= set(plan.table.requests)
    assert set(requests[: len(uniform(plan))]) == uniform(plan)


def test_a_larger_share_measures_less(plan: ClassPlan):
    several = [set(first_requests(plan.table, share)) for share in (0.0, 0.25, 0.5, 0.99)]
    assert all(after <= before for before, after in pairwise(several))
    assert several[-1] == uniform(plan) < several[0]


def test_every_other_variant_that_keeps_its_type_is_tried_with_its_first_tile(plan: ClassPlan):
    requests = set(first_requests(plan.table, 0.0))
    for candidates in plan.table.layers:
        for each in candidates:
            if each.reads.dtype == each.writes.dtype and not each.writes.channels:
                assert requests.issuperset(step.requests[0] for step in each.steps)


def test_common_requests_are_spread_from_small_to_large_kernels(plan: ClassPlan):
    def work(request: str) -> int:
        sample = plan.table.samples[request]
        return sample.operations + sample.moved_bytes

    every, three = common_requests(plan.table, 1000), common_requests(plan.table, 3)
    assert set(every) <= uniform(plan)
    assert [work(each) for each in every] == sorted(map(work, every))
    assert len(set(three)) == 3
    assert [every.index(each) for each in three] == sorted(every.index(each) for each in three)
    assert every.index(three[0]) < len(every) / 3 <= every.index(three[1]) < 2 * len(every) / 3
    assert common_requests(plan.table, 0) == ()
