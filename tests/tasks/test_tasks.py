"""Targets from columns, and predictions as programs read them."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from headstart.core.errors import DataError
from headstart.evaluation.judgement import Judgement
from headstart.tasks import TASKS, guess_task

SINGLE, MULTI, VALUE = (TASKS.get(name) for name in ("single_label", "multi_label", "regression"))


def column(values: list[object], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)] if kind else [pa.array(values)])


def test_labels_are_names_sorted() -> None:
    targets = SINGLE.encode(column(["wasp", "ant", "wasp"]), None)
    assert targets.labels == ("ant", "wasp")
    assert targets.values.tolist() == [1, 0, 1]
    assert targets.values.dtype == np.int64
    assert SINGLE.summary(targets) == {"ant": 1, "wasp": 2}
    assert targets.take(np.array([1])).values.tolist() == [0]


def test_given_labels_keep_their_order_and_unknown_ones_are_named() -> None:
    assert SINGLE.encode(column(["b"]), ("c", "b")).values.tolist() == [1]
    with pytest.raises(DataError, match=r"the labels 'wsap' are not among the 2 known ones\. Did you mean 'wasp'"):
        SINGLE.encode(column(["wsap"]), ("ant", "wasp"))


def test_whole_numbers_are_names_without_a_point() -> None:
    assert SINGLE.encode(column([1.0, 0.0, 1.0], pa.float64()), None).labels == ("0", "1")
    assert SINGLE.encode(column([1, 0, 10], pa.int64()), None).labels == ("0", "1", "10")
    assert SINGLE.encode(column([True, False]), None).labels == ("false", "true")
    assert SINGLE.encode(column(["a", "b"]).dictionary_encode(), None).labels == ("a", "b")


@pytest.mark.parametrize("values", [["a", None], ["a", "  "], [1.0, float("nan")]])
def test_a_missing_label_is_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match="1 of 2 are missing, NaN or empty"):
        SINGLE.encode(column(values), None)


def test_lists_are_for_many_labels() -> None:
    lists = column([["dog", "rain"], [], ["rain"]], pa.list_(pa.string()))
    targets = MULTI.encode(lists, None)
    assert targets.labels == ("dog", "rain")
    assert targets.values.tolist() == [[True, True], [False, False], [False, True]]
    assert MULTI.summary(targets) == {"dog": 1, "rain": 2}
    with pytest.raises(DataError, match="the task is multi_label"):
        SINGLE.encode(lists, None)
    with pytest.raises(DataError, match="a list of labels was expected"):
        MULTI.encode(column(["a", "b"]), None)
    with pytest.raises(DataError, match="1 are missing: write an empty list"):
        MULTI.encode(column([["a"], None], pa.list_(pa.string())), None)
    with pytest.raises(DataError, match="'cat' are not among"):
        MULTI.encode(column([["cat"], ["dog"]], pa.list_(pa.string())), ("dog",))


def test_numbers_are_values_and_what_is_none_is_named() -> None:
    assert VALUE.encode(column([1.5, 2.0]), None).values.tolist() == [1.5, 2.0]
    assert VALUE.encode(column(["1.5", "-2e3"]), None).values.tolist() == [1.5, -2000.0]
    assert VALUE.encode(column([1, 2], pa.int32()), None).labels == ()
    with pytest.raises(DataError, match="2 of 3 are not: 'tall', 'nan'"):
        VALUE.encode(column(["tall", "1", "nan"]), None)
    with pytest.raises(DataError, match="1 of 2 are not: inf"):
        VALUE.encode(column([1.0, float("inf")]), None)
    with pytest.raises(DataError, match="truth values"):
        VALUE.encode(column([True, False]), None)


@pytest.mark.parametrize(
    ("values", "kind", "task"),
    [
        (["a", "b"], pa.string(), "single_label"),
        ([["a"], ["b", "c"]], pa.list_(pa.string()), "multi_label"),
        ([0.5, 1.25, 3.0], pa.float64(), "regression"),
        ([float(i) for i in range(200)], pa.float64(), "regression"),
        ([0.0, 1.0, 1.0, 0.0, 2.0, 2.0], pa.float64(), "single_label"),
        ([0, 1, 1, 0], pa.int64(), "single_label"),
    ],
)
def test_exactly_one_task_fits_a_column(values: list[object], kind: pa.DataType, task: str) -> None:
    assert [name for name in TASKS.names() if TASKS.get(name).fits(column(values, kind))] == [task]


def test_predictions_as_programs_read_them() -> None:
    labels = ("ant", "bee")
    one = SINGLE.prediction(SINGLE.predict(np.array([[0.0, 2.0]]), 1.0)[0], labels)
    assert list(one) == ["label", "rule", "probability", "probabilities", "set", "outlier", "abstain"]
    assert (one["label"], one["rule"], one["set"], one["outlier"], one["abstain"]) == (
        "bee",
        "most probable",
        None,
        None,
        None,
    )
    assert one["probability"] == one["probabilities"]["bee"] == pytest.approx(1 / (1 + np.exp(-2)))
    many = MULTI.prediction(MULTI.predict(np.array([[0.0, -2.0]]), 1.0)[0], labels)
    assert list(many) == ["labels", "probabilities", "outlier", "abstain"]
    assert many["labels"] == ["ant"]
    value = VALUE.prediction(VALUE.predict(np.array([[3.5]]), 7.0)[0], ())
    assert value == {"value": 3.5, "low": None, "high": None, "outlier": None, "abstain": None}
    json.dumps([one, many, value], allow_nan=False)


def test_predictions_say_what_the_judge_says() -> None:
    labels, doubt = ("ant", "bee"), Judgement(set=("bee", "ant"), outlier=0.97, is_outlier=True)
    one = SINGLE.prediction(np.array([0.4, 0.6]), labels, judgement=doubt)
    assert (one["label"], one["set"], one["abstain"]) == ("bee", ["bee", "ant"], None)
    assert one["outlier"] == {"score": 0.97, "is": True}
    silent = replace(doubt, abstain="too far", interval=(1.0, 2.0))
    assert SINGLE.prediction(np.array([0.4, 0.6]), labels, judgement=silent)["label"] is None
    many = MULTI.prediction(np.array([0.4, 0.6]), labels, judgement=silent)
    assert (many["labels"], many["abstain"], many["outlier"]["is"]) == (None, "too far", True)
    value = VALUE.prediction(np.array([1.5]), (), judgement=silent)
    assert (value["value"], value["low"], value["high"], value["abstain"]) == (None, 1.0, 2.0, "too far")


def test_the_task_is_guessed_where_exactly_one_fits() -> None:
    assert guess_task(pa.chunked_array([["a", "b"]])) == "single_label"
    assert guess_task(pa.chunked_array([[["a"], []]])) == "multi_label"
    assert guess_task(pa.chunked_array([list(range(1000, 90_000, 178))])) == "regression"
    assert guess_task(pa.chunked_array([[0, 1, 2] * 5])) == "single_label"
    with pytest.raises(DataError, match="which no task takes: say which with --task"):
        guess_task(pa.chunked_array([[None, None]]))
