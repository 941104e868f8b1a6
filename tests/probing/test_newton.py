import numpy as np
import pytest
import torch

from dcgan.probing import newton, svm
from tests.support.blobs import blobs, objective


def test_a_start_from_an_eighth_of_the_rows_is_nearer_than_nothing():
    features, labels = blobs(newton.SUBSET * newton.FEWEST, 20)
    best = svm.fit_path(features, labels, [0.01], 4, gap=1e-6)[0].objective
    starts = newton.start(newton.Problem.of(features, labels), 0.01, 4)
    weights = torch.stack(starts).numpy()
    missed = objective(weights[:, :-1], weights[:, -1], 0.01, features, labels) - best
    nothing = objective(np.zeros((4, 20)), np.zeros(4), 0.01, features, labels) - best
    assert 0 < missed < 0.25 * nothing


def test_a_fit_to_few_rows_starts_from_nothing():
    features, labels = blobs(newton.SUBSET * newton.FEWEST - 1, 20)
    starts = newton.start(newton.Problem.of(features, labels), 0.01, 4)
    assert all(weights.shape == (21,) and (weights == 0).all() for weights in starts)


def test_two_classes_at_once_are_what_one_after_the_other_is_and_threads_are_given_back():
    features, labels = blobs(900, 30)
    threads, fits = torch.get_num_threads(), {}
    try:
        for num in (1, 2):  # classes at once: each has one thread
            torch.set_num_threads(num)
            fits[num] = svm.fit_path(features, labels, [0.01, 0.1], 4)
            assert torch.get_num_threads() == num
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(fits[1], fits[2], strict=True):
        assert (one.weights == two.weights).all() and (one.intercept == two.intercept).all()
        assert (one.objective, one.gap) == (two.objective, two.gap)


@pytest.mark.parametrize(("c", "copied"), [(1e-5, False), (0.1, True)])
def test_rows_inside_the_margin_give_the_same_fit_copied_together_or_not(c, copied):
    features, labels = blobs(900, 30, num_classes=2)
    features = features + labels[:, None].astype(np.float32)
    fit = svm.fit_path(features, labels, [c], 2, gap=1e-8)[0]
    margins = (features @ fit.weights[1] + fit.intercept[1]) * np.where(labels == 1, 1, -1)
    assert ((margins < 1).mean() <= 1 / newton.COPIED) == copied
    # At the optimum w = 2 C X'(y slack), the intercept like a weight.
    pull = 2 * c * (np.where(labels == 1, 1, -1) * np.maximum(0, 1 - margins)).astype(np.float64)
    np.testing.assert_allclose(pull @ features, fit.weights[1], atol=1e-3)
    assert pull.sum() == pytest.approx(fit.intercept[1], abs=1e-3)


RANDOM = torch.Generator().manual_seed(0)


def inverse(rows, scale):
    """The inverse of I + a A'A."""
    return torch.linalg.inv(torch.eye(rows.shape[1], dtype=torch.float64) + scale * rows.T @ rows)


def estimate(rows, scale, *, complete):
    """What `spiked_inverse` stands for, as a matrix, and its level."""
    dims = rows.shape[1]
    matrix, level = newton.spiked_inverse(scale * rows @ rows.T, scale, dims, complete=complete)
    return torch.eye(dims, dtype=torch.float64) / level + rows.T @ matrix.double() @ rows, level


@pytest.mark.parametrize("complete", [False, True])
def test_the_preconditioner_is_the_inverse_of_a_hessian_whose_large_eigenvalues_stand_out(complete):
    directions = torch.linalg.qr(torch.randn(60, 3, dtype=torch.float64, generator=RANDOM)).Q
    sizes = directions * torch.tensor([9.0, 5.0, 3.0])
    rows = torch.randn(40, 3, dtype=torch.float64, generator=RANDOM) @ sizes.T
    estimated, level = estimate(rows, 0.7, complete=complete)
    assert level == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(estimated, inverse(rows, 0.7), rtol=1e-3, atol=1e-4)


def test_of_all_rows_the_preconditioner_is_the_inverse_whatever_stands_out():
    rows = torch.randn(50, 400, dtype=torch.float64, generator=RANDOM)
    estimated, level = estimate(rows, 1.0, complete=True)
    assert level == 1
    torch.testing.assert_close(estimated, inverse(rows, 1.0), rtol=1e-3, atol=1e-4)


def test_of_some_rows_what_does_not_stand_out_is_one_level_of_the_same_trace():
    rows = torch.randn(50, 400, dtype=torch.float64, generator=RANDOM)
    estimated, level = estimate(rows, 1.0, complete=False)
    assert level == pytest.approx(1 + rows.square().sum().item() / 400)
    torch.testing.assert_close(estimated, torch.eye(400, dtype=torch.float64) / level)


def test_a_spike_is_kept_less_what_the_noise_adds_to_it():
    """Noise of deviation 1, in one direction 10: the sum of its squares there, not 8 % more."""
    noise = torch.randn(50, 400, dtype=torch.float64, generator=RANDOM)
    rows = noise.clone()
    rows[:, 0] *= 10
    estimated, level = estimate(rows, 1.0, complete=False)
    assert level == pytest.approx(1 + noise[:, 1:].square().sum().item() / 399, rel=0.05)
    planted, largest = rows[:, 0].square().sum().item(), torch.linalg.eigvalsh(rows @ rows.T)[-1]
    assert largest.item() > 1.06 * planted
    smallest = torch.linalg.eigvalsh(estimated)[0].item()  # of the inverse
    assert 1 / smallest == pytest.approx(level + planted, rel=0.02)


@pytest.mark.parametrize("forcing", [0.3, 1e-8])
def test_conjugate_gradients_solve_to_their_share_of_the_target(forcing):
    matrix = torch.diag(torch.arange(1.0, 41.0, dtype=torch.float64))
    target = torch.randn(40, dtype=torch.float64, generator=RANDOM)
    solution = newton.conjugate_gradients(
        lambda vector: matrix @ vector, target, lambda vector: vector, forcing
    )
    left = (matrix @ solution - target).norm()
    assert 1e-3 * forcing * target.norm() < left <= forcing * target.norm()
