"""Posteriors: divergences and gradients against Monte Carlo, finite differences and known cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from lla.common.random import stream
from lla.peers.neural_topics import gammas
from lla.peers.neural_topics.objectives import surrogate
from lla.peers.neural_topics.posteriors import (
    POSTERIORS,
    Draw,
    Prior,
    dirichlet_kl,
    dirichlet_mean,
    dirichlet_sample,
    inverse_cdf_sample,
    laplace_variance,
    rejection_sample,
    weibull_sample,
)

PRIOR = Prior(variance=0.7, alpha=0.3)
RAW = (torch.tensor([0.4, -0.9, 1.3]), torch.tensor([-0.5, 0.2, 0.6]))
NOISY = [name for name in POSTERIORS if name != "none"]
N = 20_000


def rows(values, n=N):
    """The same parameters in `n` rows, a leaf of the graph."""
    return torch.tensor(values, dtype=torch.float64).expand(n, -1).clone().requires_grad_()


def assert_mean(values, expected, n_errors=5):
    """Within five standard errors."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < n_errors * error, (values.mean(), expected, error)


@pytest.mark.parametrize("name", NOISY)
def test_the_divergence_is_the_mean_log_ratio(name):
    posterior = POSTERIORS[name]
    raw = tuple(x.expand(N, -1) for x in RAW[: posterior.n_parameters])
    parameters = posterior.constrain(raw)
    z = posterior.sample(parameters, stream(1, 1), 2).z
    ratio = posterior.log_ratio(parameters, PRIOR, z)
    assert ratio.shape == (N,)
    assert_mean(-ratio.numpy(), posterior.kl(parameters, PRIOR)[0].item())


@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.02, 0.005])
def test_the_pathwise_gradient_is_that_of_the_mean(alpha):
    """d E θ_1 / d a_1 against a difference quotient of a_1 / Σ a."""
    values = np.full(10, alpha)
    a = rows(values)
    z = dirichlet_sample((a,), stream(2, 1)).z
    z.softmax(dim=1)[:, 0].sum().backward()
    assert_mean(a.grad[:, 0].numpy(), mean_slope(values))


def mean_slope(values, step=1e-6):
    """Difference quotient of a_1 / Σ a with respect to a_1."""
    high, low = (np.array([values[0] * (1 + sign * step), *values[1:]]) for sign in (1, -1))
    return (high[0] / high.sum() - low[0] / low.sum()) / (2 * step * values[0])


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_the_corrected_gradient_of_the_rejection_sampler_is_unbiased(alpha):
    """Of E θ_1, by the surrogate that training uses."""
    values = np.full(10, alpha)
    a = rows(values)
    z, log_density = rejection_sample((a,), stream(3, 1), 1)
    theta = z.softmax(dim=1)[:, 0]
    zero = torch.zeros(N, dtype=torch.float64)
    (N * surrogate(theta, zero, 1.0, Draw(z, log_density), correct=True)).backward()
    assert_mean(a.grad[:, 0].numpy(), mean_slope(values))


def test_without_the_correction_the_value_is_the_same_and_the_gradient_is_not():
    found = {}
    for correct in (False, True):
        a = rows([1.0, 2.0], 50)
        z, log_density = rejection_sample((a,), stream(4, 1), 1)
        theta, zero = z.softmax(dim=1)[:, 0], torch.zeros(50, dtype=torch.float64)
        value = surrogate(theta, zero, 1.0, Draw(z, log_density), correct=correct)
        value.backward()
        found[correct] = value.item(), a.grad
    assert found[False][0] == pytest.approx(found[True][0])
    assert not torch.allclose(found[False][1], found[True][1])


def test_the_density_of_accepted_proposals_has_a_mean_score_of_zero():
    a = rows([0.3])
    gammas.rejection_log_gamma(a, stream(5, 1), 1)[1].sum().backward()
    assert_mean(a.grad[:, 0].numpy(), 0.0)


@pytest.mark.parametrize("x", [1e-6, 0.01, 0.9, 1.1, 4.0])
@pytest.mark.parametrize("alpha", [0.005, 0.3, 2.0, 9.0])
def test_the_slope_of_a_gamma_variable_is_that_of_its_distribution_function(alpha, x):
    """Pins Torch's own function, which is not public, where x is above 1."""
    step = 1e-5 * alpha
    change = special.gammainc(alpha + step, x) - special.gammainc(alpha - step, x)
    expected = -change / (2 * step) / (x * stats.gamma(alpha).pdf(x))
    log_x = torch.tensor(np.log(x), dtype=torch.float64)
    a = torch.tensor(alpha, dtype=torch.float64)
    found = gammas.log_gamma_slope(a, log_x).item()
    assert found == pytest.approx(expected, rel=1e-5 if x < gammas.SERIES_BELOW else 0.01)


@pytest.mark.parametrize("sample", [dirichlet_sample, rejection_sample])
def test_two_proportions_are_beta_variables(sample):
    a = torch.tensor([0.4, 1.7]).expand(4_000, -1)
    theta = sample((a,), stream(6, 1), 2).z.softmax(dim=1)
    assert stats.kstest(theta[:, 0].numpy(), stats.beta(0.4, 1.7).cdf).pvalue > 1e-3
    beta = torch.distributions.Beta(*a[0].double())
    prior = torch.distributions.Beta(*torch.tensor([0.3, 0.3]).double())
    expected = torch.distributions.kl_divergence(beta, prior)
    assert dirichlet_kl((a[:1],), PRIOR).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("sample", [dirichlet_sample, rejection_sample])
def test_samples_are_sound_at_the_smallest_concentration(sample):
    """The largest of 50 proportions at α = 1e-3 is 0.97 in the mean, and no draw is uniform."""
    a = torch.full((2_000, 50), 1e-3, requires_grad=True)
    z = sample((a,), stream(7, 1), 10).z
    largest = z.softmax(dim=1).max(dim=1).values
    assert torch.isfinite(z).all() and largest.min() > 0.1
    exact = stats.dirichlet.rvs([0.05] * 50, 200, random_state=1)  # a sanity check of the scale
    assert largest.mean() > exact.max(axis=1).mean()
    assert_mean(largest.detach().numpy(), 0.970, n_errors=8)
    z.logsumexp(dim=1).sum().backward()
    assert torch.isfinite(a.grad).all()


def test_the_inverse_distribution_function_is_exact_only_for_small_shapes():
    for alpha, mean in ((1.0, 0.5), (0.02, 0.011)):
        a = torch.full((N, 1), alpha)
        x = inverse_cdf_sample((a,), stream(8, 1)).z.exp()
        exact = np.exp(special.gammaln(alpha + 1) / alpha) * alpha / (alpha + 1)
        assert_mean(x[:, 0].numpy(), exact)
        assert exact == pytest.approx(mean, rel=0.03)


def test_weibull_variables_have_their_distribution():
    shape, scale = torch.full((4_000, 1), 0.8), torch.full((4_000, 1), 2.0)
    x = weibull_sample((shape, scale), stream(9, 1)).z.exp()
    assert stats.kstest(x[:, 0].numpy(), stats.weibull_min(0.8, scale=2.0).cdf).pvalue > 1e-3


@settings(max_examples=30, deadline=None)
@given(
    raw=st.lists(st.floats(-30, 30), min_size=2, max_size=6),
    alpha=st.floats(1e-3, 10),
    name=st.sampled_from(NOISY),
)
def test_divergences_are_finite_and_not_negative(raw, alpha, name):
    posterior = POSTERIORS[name]
    parameters = posterior.constrain((torch.tensor([raw]).float(),) * posterior.n_parameters)
    kl = posterior.kl(parameters, Prior(laplace_variance(alpha, 5), alpha))
    # Second moments of a Weibull variable of shape 0.1 are 1e18, so rounding is relative.
    assert torch.isfinite(kl).all() and kl.item() > -1e-6
    theta = posterior.mean(parameters)
    if posterior.on_simplex:
        assert theta.sum().item() == pytest.approx(1, rel=1e-4)


def test_the_divergence_from_itself_is_zero():
    a = torch.full((1, 4), PRIOR.alpha)
    assert dirichlet_kl((a,), PRIOR).item() == pytest.approx(0, abs=1e-6)
    assert torch.allclose(dirichlet_mean((a,)), torch.full((1, 4), 0.25))
    gaussian = POSTERIORS["gaussian"]
    same = (torch.zeros(1, 4), torch.full((1, 4), float(np.log(PRIOR.variance))))
    assert gaussian.kl(same, PRIOR).item() == pytest.approx(0, abs=1e-6)
    assert gaussian.log_ratio(same, PRIOR, torch.randn(1, 4, generator=torch.Generator())) == (
        pytest.approx(0, abs=1e-6)
    )


def test_the_laplace_approximation_matches_the_log_ratios_of_the_dirichlet_for_many_counts():
    """For a large α the softmax basis of Dir(α) is nearly Gaussian: var(log θ_k - mean) = σ²."""
    alpha, n_topics = 50.0, 5
    log_theta = np.log(stream(10, 1).dirichlet([alpha] * n_topics, N))
    centred = log_theta - log_theta.mean(axis=1, keepdims=True)
    assert centred.var() == pytest.approx(laplace_variance(alpha, n_topics), rel=0.03)
