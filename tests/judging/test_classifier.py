import numpy as np
import pytest
import torch

from dcgan import files
from dcgan.errors import DataError, Diverged
from dcgan.judging import classifier as networks
from dcgan.judging import fidelity
from dcgan.judging.sample import Sample
from tests.support.idx_source import shape


def dataset(count, seed):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    return np.stack([shape(int(label), generator) for label in labels])[:, None], labels


def train(images, labels, **changes):
    settings = {"num_classes": 10, "seed": 1, "epochs": 3, "lr": 6e-3, "batch_size": 50} | changes
    return networks.train_classifier(images, labels, **settings)


@pytest.fixture(scope="module")
def shapes():
    return dataset(800, seed=0)


@pytest.fixture(scope="module")
def classifier(shapes):
    return train(*shapes)


def weights(classifier):
    return torch.cat([tensor.flatten().double() for tensor in classifier.state_dict().values()])


def test_the_classifier_learns(classifier):
    assert networks.accuracy(classifier, *dataset(200, seed=1)) > 0.9


def test_training_is_bit_identical_for_a_seed_and_leaves_no_trace_of_the_global_generator(shapes):
    small = [array[:100] for array in shapes]
    torch.manual_seed(1)
    first = weights(train(*small, epochs=1))
    torch.manual_seed(2)
    assert torch.equal(weights(train(*small, epochs=1)), first)
    assert not torch.equal(weights(train(*small, epochs=1, seed=2)), first)


def test_each_epoch_is_reported_with_a_classifier_in_evaluation_mode(shapes):
    seen = []
    train(
        shapes[0][:100],
        shapes[1][:100],
        epochs=2,
        on_epoch=lambda *row: seen.append((*row[:2], row[2].training)),
    )
    assert [(epoch, training) for epoch, _, training in seen] == [(1, False), (2, False)]
    assert 0 < seen[1][1] < 10


def test_a_batch_larger_than_the_data_is_the_whole_of_it(shapes):
    train(shapes[0][:30], shapes[1][:30], epochs=1, batch_size=4096)


def test_features_are_float32_and_do_not_depend_on_the_number_of_images(classifier, shapes):
    features, verdicts = networks.extract(classifier, shapes[0][:7])
    assert (
        features.shape == (7, 128)
        and features.dtype == np.float32
        and verdicts.shape == (7,)
        and verdicts.dtype == np.int64
    )
    assert (networks.extract(classifier, shapes[0][:3])[0] == features[:3]).all()
    many, many_verdicts = networks.extract(classifier, shapes[0])  # more than one batch
    assert (many[:7] == features).all() and (many_verdicts[:7] == verdicts).all()


def test_mapped_images_give_the_same_features(classifier, shapes, tmp_path):
    np.save(tmp_path / "images.npy", shapes[0][:10])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert (
        networks.extract(classifier, mapped)[0] == networks.extract(classifier, shapes[0][:10])[0]
    ).all()


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 16), (3, 32), (1, 64)])
def test_other_sizes_and_channels_work(channels, size):
    images = np.random.default_rng(0).integers(0, 256, (20, channels, size, size), np.uint8)
    trained = train(images, np.arange(20) % 2, num_classes=2, epochs=1, batch_size=10)
    assert networks.extract(trained, images)[0].shape == (20, 128)


def test_distance_grows_with_blur_and_is_largest_for_noise(classifier, shapes):
    other = dataset(800, seed=5)[0]
    real = networks.extract(classifier, shapes[0])[0]

    def blurred(width):
        tensor = torch.nn.functional.avg_pool2d(
            torch.from_numpy(other).float(), width, 1, width // 2, count_include_pad=False
        )
        return tensor.round().to(torch.uint8).numpy()

    noise = np.random.default_rng(0).integers(0, 256, other.shape, np.uint8)
    fakes = (other, blurred(3), blurred(7), noise)
    statistics = Sample(real).statistics
    distances = [
        fidelity.fid(statistics, Sample(networks.extract(classifier, fake)[0]).statistics)
        for fake in fakes
    ]
    assert distances == sorted(distances)
    assert distances[1] > 2 * distances[0]


def test_a_classifier_survives_a_round_trip(classifier, shapes, tmp_path):
    digest = networks.save_classifier(
        tmp_path / "classifier.safetensors", classifier, {"test_accuracy": 0.9}
    )
    again, description = networks.load_classifier(tmp_path / "classifier.safetensors")
    assert description["sha256"] == digest == files.sha256(tmp_path / "classifier.safetensors")
    assert (
        description["test_accuracy"] == 0.9
        and description["num_classes"] == 10
        and description["channels"] == 1
    )
    assert (
        networks.extract(again, shapes[0][:5])[0] == networks.extract(classifier, shapes[0][:5])[0]
    ).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [("architecture", "vgg"), ("num_classes", 7), ("channels", 3), ("num_classes", "ten")],
)
def test_a_classifier_that_is_not_as_described_is_refused(classifier, tmp_path, key, value):
    path = tmp_path / "classifier.safetensors"
    networks.save_classifier(path, classifier, {})
    description = files.read_json(path.with_suffix(".json"))
    del description["seal"]  # files from before there were seals have none
    files.write_json(path.with_suffix(".json"), {**description, key: value})
    with pytest.raises(DataError, match=r"architecture is 'vgg'|does not fit") as caught:
        networks.load_classifier(path)
    assert "\n" not in str(caught.value)


IMAGES, LABELS = np.zeros((4, 1, 28, 28), np.uint8), np.array([0, 1, 2, 3])
BAD = {
    "no images": (IMAGES[:0], LABELS[:0], "at least 1"),
    "floats": (IMAGES.astype(np.float32), LABELS, "must be uint8"),
    "no channel": (IMAGES[:, 0], LABELS, "N x C x H x W"),
    "too small": (IMAGES[:, :, :4], LABELS, "at least 8"),
    "a label short": (IMAGES, LABELS[:3], "one label an image"),
    "a label too large": (IMAGES, LABELS + 7, "must be 0 to 9"),
    "a negative label": (IMAGES, LABELS - 1, "must be 0 to 9"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_and_labels_are_refused(name):
    images, labels, message = BAD[name]
    with pytest.raises(DataError, match=message):
        train(images, labels)


def test_a_loss_that_is_not_finite_stops_the_training(shapes):
    with pytest.raises(Diverged, match=r"reference\.lr = 1e\+30"):
        train(*shapes, lr=1e30)


def leaning(count: int) -> np.ndarray:
    """Images that are bright above and dark below, so that it shows which way up they are."""
    noise = np.random.default_rng(0).integers(0, 60, (count, 3, 16, 16))
    return (noise + np.linspace(190, 0, 16).astype(int)[None, None, :, None]).astype(np.uint8)


def test_without_labels_the_extractor_learns_which_way_up_images_are():
    images = leaning(400)
    net = networks.train_classifier(images[:300], None, seed=1, epochs=3, lr=6e-3, batch_size=50)
    assert networks.accuracy(net, images[300:], None) > 0.9
    assert networks.extract(net, images[:2])[0].shape == (2, networks.NUM_FEATURES)


def test_rotations_are_quarter_turns_of_each_image_on_its_own():
    images = torch.arange(2 * 9).view(2, 1, 3, 3)
    turned = networks.rotated(images, torch.tensor([0, 1]))
    assert torch.equal(turned[0], images[0])
    assert turned[1, 0].tolist() == [[11, 14, 17], [10, 13, 16], [9, 12, 15]]


def test_probabilities_are_those_of_the_verdicts_and_progress_is_told(classifier, shapes):
    seen = []
    _, verdicts = networks.extract(
        classifier, shapes[0][:25], batch_size=10, on_batch=lambda *row: seen.append(row)
    )
    assert seen == [(10, 25), (20, 25), (25, 25)]
    shares = networks.probabilities(classifier, shapes[0][:25], batch_size=10)
    assert shares.shape == (25, 10) and shares.dtype == np.float32
    assert (
        np.allclose(shares.sum(axis=1), 1, atol=1e-5) and (shares.argmax(axis=1) == verdicts).all()
    )
    assert shares.max(axis=1).mean() > 0.5  # no longer equal
