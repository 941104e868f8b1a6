import numpy as np
import pytest

from dcgan.raw import fake
from tests.raw.given import raw_of
from tests.support import shapes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 64])
def test_an_image_depends_on_seed_and_number_alone(size, channels):
    images, labels = shapes.draw(25, size, channels, seed=3)
    assert (images.shape, images.dtype) == ((25, channels, size, size), np.uint8)
    assert labels.tolist() == [index % 10 for index in range(25)]
    assert (shapes.draw(12, size, channels, seed=3)[0] == images[:12]).all()
    assert (fake.draw_one(24, size, channels, 3) == images[24]).all()
    assert (shapes.draw(25, size, channels, seed=4)[0] != images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 3)])
def test_no_image_comes_twice(size, channels):
    images, _ = shapes.draw(3000, size, channels, seed=0)
    assert len({image.tobytes() for image in images}) == 3000


@pytest.mark.parametrize("size", [16, 28, 64])
def test_each_class_differs_from_the_others(size):
    images, labels = shapes.draw(600, size, 1, seed=0)
    shown = (images[:, 0] > 0).reshape(600, -1).astype(float)
    means = np.stack([shown[:300][labels[:300] == label].mean(0) for label in range(10)])
    nearest = ((shown[300:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == labels[300:]).mean() > 0.75


def test_colours_are_bright_and_differ_from_shape_to_shape():
    images, _ = shapes.draw(50, 28, 3, seed=0)
    assert (images.max(axis=(1, 2, 3)) == 255).all()
    brightest = images.max(axis=(2, 3))
    assert len(np.unique(brightest, axis=0)) == 50
    assert brightest.min() > 40


def test_fake_images_depend_on_seed_and_number_alone_and_are_drawn_when_read(tmp_path):
    few = raw_of(tmp_path, "fake", None, max_images=30, test_size=20)
    many = raw_of(tmp_path, "fake", None)
    assert (len(few.pool), len(many.pool), few.test) == (50, 2020, None)
    assert (few.pool.read(34) == many.pool.read(34)).all()
    assert few.pool.read(0).shape == (32, 32, 3)
    assert (
        np.stack([few.pool.read(index) for index in range(5)])
        == shapes.draw(5, 32, 3, 1)[0].transpose(0, 2, 3, 1)
    ).all()
    assert few.pool.labels.tolist() == [index % 10 for index in range(50)]
    assert raw_of(tmp_path, "fake", None, channels=1, image_size=8).pool.read(3).shape == (8, 8)
