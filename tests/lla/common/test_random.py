"""Streams are found by their keys: the same for the same key, others for any other."""

import numpy as np
import pytest
import torch

from lla.common.random import StreamId, family_stream, stream, torch_stream


def test_a_stream_is_found_again_by_its_key():
    one, again = (stream(3, StreamId.CLICKS, 7).random(5) for _ in range(2))
    assert np.array_equal(one, again)
    for other in (stream(4, StreamId.CLICKS, 7), stream(3, StreamId.SPLIT, 7), stream(3, 21, 8)):
        assert not np.array_equal(one, other.random(5))
    drawn = torch_stream(3, StreamId.WEIGHTS)
    assert torch.equal(torch.rand(5, generator=drawn), torch.rand(5, generator=torch_stream(3, 4)))


@pytest.mark.parametrize("name", ["gru4rec", "a new family"])
def test_a_family_has_a_stream_by_its_name(name):
    number = family_stream(name)
    assert number == family_stream(name) > max(StreamId)
    assert number != family_stream(name + "s")
    assert stream(0, number, 1).random() != stream(0, StreamId.GRU4REC, 1).random()
