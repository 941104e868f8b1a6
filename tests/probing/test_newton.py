import pytest
import torch

from dcgan.probing import newton
from tests.support.blobs import blobs


def test_a_start_from_an_eighth_of_the_rows_is_nearer_than_nothing(monkeypatch):
    features, labels = blobs(1600, 20)
    problem = newton.Problem.of(features, labels, torch.device("cpu"))
    nothing = newton.start(problem, 0.01, 4)
    assert all((weights == 0).all() for weights in nothing)
    monkeypatch.setattr(newton, "FEWEST", 50)
    starts, gathered = newton.start(problem, 0.01, 4), problem.spare.get()
    for k in range(4):
        best = problem.solve(k, 0.01, starts[k], 1e-6, gathered)[1]
        with monkeypatch.context() as patch:
            patch.setattr(
                newton, "MAX_STEPS", 0
            )  # what `solve` returns is the objective at the start
            missed = [
                problem.solve(k, 0.01, weights, 0.0, gathered)[1] - best
                for weights in (starts[k], nothing[k])
            ]
        assert 0 < missed[0] < 0.25 * missed[1]


def test_two_classes_at_once_are_what_one_after_the_other_is_and_threads_are_given_back():
    features, labels = blobs(900, 30)
    problem = newton.Problem.of(features, labels, torch.device("cpu"))
    nothing = newton.start(problem, 0.01, 4)
    threads = torch.get_num_threads()
    at_once = problem.solve_all(0.01, nothing, 1e-6)
    assert torch.get_num_threads() == threads and problem.spare.qsize() == newton.AT_ONCE
    for k, (weights, objective, bound) in enumerate(at_once):
        alone = problem.solve(k, 0.01, nothing[k], 1e-6, problem.features.new_empty(300, 30))
        assert (alone[0] == weights).all() and alone[1:] == (objective, bound)


RANDOM = torch.Generator().manual_seed(0)


def inverse(rows, a):
    return torch.linalg.inv(torch.eye(rows.shape[1], dtype=torch.float64) + a * rows.T @ rows)


@pytest.mark.parametrize("complete", [False, True])
def test_the_preconditioner_is_the_inverse_of_a_hessian_whose_large_eigenvalues_stand_out(complete):
    directions = torch.linalg.qr(torch.randn(60, 3, dtype=torch.float64, generator=RANDOM)).Q
    rows = (
        torch.randn(40, 3, dtype=torch.float64, generator=RANDOM)
        @ (directions * torch.tensor([9.0, 5.0, 3.0])).T
    )
    matrix, level = newton._spikes(0.7 * rows @ rows.T, 0.7, 60, complete=complete)
    assert level == pytest.approx(1, abs=1e-6)
    found = torch.eye(60, dtype=torch.float64) / level + rows.T @ matrix.double() @ rows
    torch.testing.assert_close(found, inverse(rows, 0.7), rtol=1e-3, atol=1e-4)


def test_of_all_rows_the_preconditioner_is_the_inverse_whatever_stands_out():
    rows = torch.randn(50, 400, dtype=torch.float64, generator=RANDOM)
    matrix, level = newton._spikes(rows @ rows.T, 1.0, 400, complete=True)
    found = torch.eye(400, dtype=torch.float64) / level + rows.T @ matrix.double() @ rows
    torch.testing.assert_close(found, inverse(rows, 1.0), rtol=1e-3, atol=1e-4)


def test_of_some_rows_what_does_not_stand_out_is_one_level_of_the_same_trace():
    rows = torch.randn(50, 400, dtype=torch.float64, generator=RANDOM)
    matrix, level = newton._spikes(rows @ rows.T, 1.0, 400, complete=False)
    assert level == pytest.approx(1 + rows.square().sum().item() / 400) and matrix.abs().max() == 0


@pytest.mark.parametrize("count", [30, 60])
def test_curvature_comes_from_the_rows_inside_the_margin_copied_together_or_not(count, monkeypatch):
    monkeypatch.setattr(newton, "EXACT", 0)
    features, labels = blobs(120, 20)
    problem = newton.Problem.of(features, labels, torch.device("cpu"))
    slack = torch.zeros(120)
    slack[:count] = 1
    rows, inside = problem._inside(slack, problem.spare.get())
    assert len(rows) == (30 if count == 30 else 120)
    vector = torch.randn(21, dtype=torch.float64, generator=RANDOM)
    exact = torch.cat([torch.from_numpy(features[:count]), torch.ones(count, 1)], 1).double()
    expected = vector + 0.6 * exact.T @ (exact @ vector)
    torch.testing.assert_close(
        newton._hessian(0.3, rows, slack[inside])(vector), expected, rtol=1e-4, atol=1e-4
    )
    # All these rows are known to it, so that it undoes the curvature.
    torch.testing.assert_close(
        problem._preconditioner(0.3, slack)(expected), vector, rtol=1e-3, atol=1e-3
    )


def test_conjugate_gradients_solve_to_their_share_of_the_target(monkeypatch):
    matrix = torch.diag(torch.arange(1.0, 41.0, dtype=torch.float64))
    target = torch.randn(40, dtype=torch.float64, generator=RANDOM)
    for share in (0.3, 1e-8):
        monkeypatch.setattr(newton, "FORCING", share)
        found = newton._conjugate_gradients(
            lambda vector: matrix @ vector, target, lambda vector: vector
        )
        assert (
            1e-3 * share * target.norm() < (matrix @ found - target).norm() <= share * target.norm()
        )


def test_few_features_have_their_hessian_factored_and_many_do_not(monkeypatch):
    features, labels = blobs(80, 20)
    problem = newton.Problem.of(features, labels, torch.device("cpu"))
    slack = torch.ones(80)
    slack[50:] = 0
    exact = torch.cat([torch.from_numpy(features[:50]), torch.ones(50, 1)], 1).double()
    vector = torch.randn(21, dtype=torch.float64, generator=RANDOM)
    torch.testing.assert_close(
        problem._preconditioner(0.3, slack)(vector),
        inverse(exact, 0.6) @ vector,
        rtol=1e-4,
        atol=1e-5,
    )
    monkeypatch.setattr(newton, "EXACT", 19)
    monkeypatch.setattr(newton, "SAMPLED", 5)
    assert not torch.allclose(
        problem._preconditioner(0.3, slack)(vector), inverse(exact, 0.6) @ vector, rtol=1e-2
    )
