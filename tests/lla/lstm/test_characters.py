"""Equation 4 against a loop written out by hand, letter by letter."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lla.common.errors import InputError
from lla.common.random import torch_stream
from lla.lstm import UNKNOWN, CharacterConfig, Network, NetworkConfig, spell

WORDS = ["the", "theatre", "a", "née", "Москва", "東京", "x", "tea"]
SIZES = CharacterConfig(embedding_size=4, hidden_size=3, min_words=1)


def network(words=WORDS, sizes=SIZES, embedding_size=5, seed=0):
    config = NetworkConfig(len(words), 6, embedding_size, 7, 0.0, "character", sizes)
    return Network(config, torch_stream(seed), spell(words, sizes))


def random_words(n):
    letters = np.random.default_rng(7).integers(26, size=(n, 7))
    return sorted({"".join(chr(97 + i) for i in word) for word in letters})


def by_hand(net, letters):
    """e_w of one word's character ids in NumPy."""
    of = net.input
    weights = {name: value.detach().double().numpy() for name, value in of.named_parameters()}

    def last_state(sequence, suffix):
        h = c = np.zeros(of.lstm.hidden_size)
        for letter in sequence:
            gates = (
                weights[f"lstm.weight_ih_l0{suffix}"] @ weights["weight"][letter]
                + weights[f"lstm.bias_ih_l0{suffix}"]
                + weights[f"lstm.weight_hh_l0{suffix}"] @ h
                + weights[f"lstm.bias_hh_l0{suffix}"]
            )
            i, f, g, o = np.split(gates, 4)
            i, f, o = (1 / (1 + np.exp(-x)) for x in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        return h

    forward, backward = last_state(letters, ""), last_state(letters[::-1], "_reverse")
    combined = weights["combine_forward"] @ forward + weights["combine_backward"] @ backward
    return combined + weights["bias"]


def test_the_encoder_is_equation_4():
    net, spelling = network(), spell(WORDS, SIZES)
    with torch.no_grad():
        for parameter in net.input.parameters():
            parameter.uniform_(-1, 1, generator=torch_stream(1))
        table = net.input.table().numpy()
    for w, length in enumerate(spelling.lengths):
        letters = spelling.characters[w, :length].tolist()
        np.testing.assert_allclose(table[w], by_hand(net, letters), atol=1e-5)
    np.testing.assert_array_equal(table[-1], net.input.start_vector.detach().numpy())


def test_each_distinct_word_is_encoded_once(monkeypatch):
    net, seen = network(), []
    encode = net.input.encode
    monkeypatch.setattr(
        net.input, "encode", lambda words: seen.append(words.tolist()) or encode(words)
    )
    ids = torch.tensor([[8, 8], [3, 0], [0, 0], [3, 5]])  # 8 is the start symbol
    embedded = net.input(ids)
    assert seen == [[0, 3, 5]]
    torch.testing.assert_close(embedded, net.input.table()[ids])


def test_only_start_symbols_need_no_word():
    net = network()
    embedded = net.input(torch.full((1, 3), net.input.start))
    assert torch.equal(embedded[0], net.input.start_vector.expand(3, -1))


def test_gradients_add_over_a_words_occurrences():
    net = network()
    ids = torch.tensor([[0, 1], [1, 1]])
    loss = net.input(ids).square().sum()
    once = (
        net.input(torch.tensor([0])).square().sum()
        + 3 * net.input(torch.tensor([1])).square().sum()
    )
    one = torch.autograd.grad(loss, net.input.weight)[0]
    other = torch.autograd.grad(once, net.input.weight)[0]
    torch.testing.assert_close(one, other)
    assert one.abs().sum() > 0


def test_letters_are_read_in_their_order_to_the_last_one():
    words = ["ab", "ba", "aba", "abb"]
    table = network(words).input.table()
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(table[i], table[j], atol=1e-6)


def test_initial_word_encodings_are_far_apart():
    """Before any training words have mean 0 and variance 1 an entry, as codes drawn apart would."""
    words = random_words(2000)
    with torch.no_grad():
        table = network(words, CharacterConfig(), 30).input.table()[:-1].double()
    torch.testing.assert_close(table.mean(0), torch.zeros(30).double(), atol=1e-4, rtol=0)
    assert table.var(0, correction=0).mean() == pytest.approx(1, abs=1e-4)
    apart = torch.pdist(table[:300]).square() / 30  # 2 for vectors drawn one by one
    assert apart.mean() == pytest.approx(2, rel=0.1) and apart.quantile(0.01) > 0.5


def test_one_word_alone_can_be_spelled():
    with torch.no_grad():
        assert torch.isfinite(network(["tea"]).input.table()).all()


def test_letters_of_a_single_word_are_unknown():
    spelling = spell(["aab", "ca", "b", "žluť", ""], CharacterConfig(min_words=2))
    assert spelling.alphabet == "ab"  # c stands in one word
    assert spelling.characters.tolist() == [
        [1, 1, 2, 0],
        [UNKNOWN, 1, 0, 0],
        [2, 0, 0, 0],
        [UNKNOWN] * 4,
        [UNKNOWN, 0, 0, 0],
    ]
    assert spelling.lengths.tolist() == [3, 2, 1, 4, 1]
    assert spelling.n_characters == 3


def test_long_words_are_cut():
    spelling = spell(["a" * 50, "ab"], CharacterConfig(max_chars=8, min_words=1))
    assert spelling.lengths.tolist() == [8, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=0, max_size=12), min_size=1, max_size=6, unique=True))
def test_words_of_any_script_have_an_embedding(words):
    table = network(words).input.table()
    assert table.shape == (len(words) + 1, 5)
    assert torch.isfinite(table).all()


@pytest.mark.parametrize("option", ["embedding_size", "hidden_size", "min_words", "max_chars"])
def test_sizes_are_whole_numbers_above_zero(option):
    with pytest.raises(InputError, match=option):
        CharacterConfig(**{option: 0})


def test_a_network_of_letters_needs_their_spelling():
    config = NetworkConfig(3, 2, input="character")
    with pytest.raises(InputError, match="spelling of all 3 words"):
        Network(config, torch_stream(0))
    with pytest.raises(InputError, match="spelling of all 3 words"):
        Network(config, torch_stream(0), spell(["a"], SIZES))


def test_the_spelling_is_no_part_of_the_weights():
    assert not {"input.characters", "input.lengths"} & network().state_dict().keys()


def test_words_together_are_read_as_each_by_itself_by_torch():
    """`nn.LSTM` on one word at a time, forward and backward, gradients included."""
    net, words = network(), torch.tensor([6, 1, 3, 4, 0])
    reader, spelling = net.input, spell(WORDS, SIZES)

    def alone(w):
        letters = torch.from_numpy(spelling.characters[w, : spelling.lengths[w]])
        _, (h, _) = reader.lstm(reader.weight[letters][:, None])  # (2, 1, H_c)
        forward, backward = h[:, 0]
        return reader.combine_forward @ forward + reader.combine_backward @ backward + reader.bias

    weights = [p for name, p in reader.named_parameters() if name != "start_vector"]
    found = []
    for encoded in (reader.encode(words), torch.stack([alone(w) for w in words.tolist()])):
        loss = (encoded * torch.arange(5)).sum()
        found.append([encoded, *torch.autograd.grad(loss, weights)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_sizes_of_an_earlier_version_are_read():
    old = {"embedding_size": 4, "hidden_size": 3, "least_words": 1, "longest": 9}
    assert CharacterConfig.from_dict(old) == CharacterConfig(4, 3, min_words=1, max_chars=9)


def test_character_encodings_stay_float32_with_bfloat16():
    net = network()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.input.encode(torch.arange(4)), net.input.table()[:4])
