import numpy as np

from dcgan.paper import panels


def test_a_gradient_is_grey_at_zero_and_its_largest_value_is_white_or_black():
    values = np.array([[[0.0, 2.0], [-1.0, 0.5]]], np.float32)
    assert panels.gradient(values).tolist() == [[[128, 255], [64, 159]]]
    assert (panels.gradient(np.zeros((1, 2, 2), np.float32)) == 128).all()
