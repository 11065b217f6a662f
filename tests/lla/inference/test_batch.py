"""Documents side by side: order, groups, columns and uniforms, against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lla.common.parallel import thread_pool
from lla.common.random import stream
from lla.inference.batch import (
    columns,
    document_uniforms,
    first_lanes,
    group_by_length,
    input_columns,
    run_groups,
    running_lanes,
    sort_by_length,
)

documents = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=12)


def flat(documents):
    offsets = np.cumsum([0, *(len(document) for document in documents)])
    return np.concatenate(documents), offsets, np.diff(offsets)


@given(documents, st.integers(1, 5))
def test_groups_hold_every_document_once_the_longest_first(documents, size):
    _, _, lengths = flat(documents)
    groups = group_by_length(lengths, size)
    order = np.concatenate(groups)
    expected = sorted(range(len(documents)), key=lambda d: -len(documents[d]))  # ties in order
    assert order.tolist() == expected == sort_by_length(lengths).tolist()
    assert [len(group) for group in groups[:-1]] == [size] * (len(groups) - 1)
    some = np.flatnonzero(lengths % 2)
    assert sort_by_length(lengths, some).tolist() == [d for d in expected if lengths[d] % 2]


@given(documents)
def test_columns_are_the_documents(documents):
    values, offsets, lengths = flat(documents)
    order = sort_by_length(lengths)
    table = columns(values, offsets, order, fill=-1)
    inputs = input_columns(values, offsets, order, start=-2)
    running = running_lanes(lengths[order])
    assert table.shape == inputs.shape == (max(lengths), len(documents))
    for lane, d in enumerate(order):
        n = len(documents[d])
        assert table[:, lane].tolist() == [*documents[d], *[-1] * (len(table) - n)]
        assert inputs[:, lane].tolist() == [-2, *documents[d][:-1], *[-2] * (len(table) - n)]
    assert running.tolist() == [(lengths > t).sum() for t in range(max(lengths))]


def test_a_documents_uniforms_are_those_of_its_stream():
    lengths = np.array([4, 9, 1])
    order = sort_by_length(lengths)
    tokens, last = document_uniforms(order, lengths[order], 3, (7, 5))
    for lane, d in enumerate(order):
        draw = stream(7, 5, int(d))
        expected = draw.random((lengths[d], 3), np.float32)
        assert tokens[: lengths[d], lane].tobytes() == expected.tobytes()
        assert not tokens[lengths[d] :, lane].any()
        assert last[lane] == draw.random()


def test_the_state_of_the_first_lanes():
    h, c = torch.arange(12.0).view(1, 4, 3), torch.ones(1, 4, 3)
    part = first_lanes((h, c), 2)
    assert torch.equal(part[0], h[:, :2]) and torch.equal(part[1], c[:, :2])
    assert first_lanes(None, 2) is None


@pytest.mark.parametrize("n_threads", [1, 2])
def test_results_come_in_the_order_of_the_groups(n_threads):
    groups = [np.arange(n) for n in (5, 1, 3)]
    with thread_pool(n_threads) as pool:
        assert list(run_groups(len, groups, pool, "counting")) == [5, 1, 3]
