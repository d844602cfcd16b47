"""Decisions by offsets and costs, against answers worked out by hand."""

import numpy as np

from headstart.evaluation.decision import balanced_offsets, choose_by_costs, choose_by_offsets


def test_balanced_offsets_divide_by_the_prior():
    prior = np.array([0.9, 0.1])
    probabilities = np.array([[0.89, 0.11], [0.91, 0.09]])
    chosen = choose_by_offsets(probabilities, balanced_offsets(prior))
    assert chosen.tolist() == [1, 0]
    assert choose_by_offsets(probabilities, np.zeros(2)).tolist() == [0, 0]


def test_tau_of_zero_is_the_most_probable():
    assert balanced_offsets(np.array([0.9, 0.1]), tau=0.0).tolist() == [0.0, 0.0]


def test_a_probability_of_nought_is_finite():
    offsets = balanced_offsets(np.array([1.0, 0.0]))
    assert np.isfinite(offsets).all()
    assert choose_by_offsets(np.array([[1.0, 0.0]]), np.zeros(2)).tolist() == [0]


def test_costs_choose_the_least_expected_cost():
    costs = np.array([[0.0, 1.0], [10.0, 0.0]])
    probabilities = np.array([[0.95, 0.05], [0.85, 0.15]])
    assert choose_by_costs(probabilities, costs).tolist() == [0, 1]
