"""What retrain refuses before it begins; tests/system/test_drill.py runs it."""

import os

import pytest

from dcgan.errors import EnvironmentProblem
from pipeline import folder_lock, retrain


def test_a_retraining_beside_an_experiment_is_refused_and_names_it(git):
    handle = folder_lock.hold()
    try:
        with pytest.raises(
            EnvironmentProblem,
            match=rf"^retrain: an experiment or a retraining .* \(process {os.getpid()}\)",
        ):
            retrain.main()
    finally:
        os.close(handle)
