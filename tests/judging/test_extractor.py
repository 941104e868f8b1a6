import numpy as np
import pytest

from dcgan import files
from dcgan.data import Split
from dcgan.errors import ConfigError, DataError
from dcgan.judging import classifier, inception
from dcgan.judging import extractor as extractors
from tests.support.made_up import inception_weights

MANIFEST = {"dataset": "toys", "classes": ["a", "b"], "image_size": 16}


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 16, 16), np.uint8)


def train(folder, name, seed=1, on_epoch=None, flip="always"):
    splits = {
        split: Split(images(40, i), np.arange(40) % 2)
        for i, split in enumerate(("train", "validation", "test"))
    }
    settings = {"seed": seed, "epochs": 2, "lr": 6e-3, "batch_size": 20}
    return extractors.train(
        folder, name, splits, MANIFEST, on_epoch=on_epoch, flip=flip, **settings
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All three networks, of which tests make extractors in folders of their own."""
    folder = tmp_path_factory.mktemp("networks")
    for name in ("classifier", "rotation"):
        train(folder, name)
    source = inception_weights(folder / "weights.pth")
    inception.convert(source, files.sha256(source), folder / "inception.safetensors")
    source.unlink()
    return folder


def made(folder, target, *names):
    """An extractor of some of the networks; the others lie there too, as an earlier run's."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).symlink_to(path)
    extractors.finish(target, names)
    return target


def test_auto_takes_labels_where_there_are_some_and_never_what_must_be_downloaded():
    assert extractors.networks("auto", ["a", "b"]) == ["classifier"]
    assert extractors.networks("auto", []) == ["rotation"]
    with pytest.raises(
        ConfigError, match=r"reference\.extractor = 'classifier': the data set has no labels"
    ):
        extractors.networks("classifier", [])


def test_with_labels_there_is_always_a_classifier():
    assert extractors.networks("classifier", ["a", "b"]) == ["classifier"]
    assert extractors.networks("rotation", ["a", "b"]) == ["rotation", "classifier"]
    assert extractors.networks("inception", ["a", "b"]) == ["inception", "classifier"]
    assert extractors.networks("rotation", []) == ["rotation"]
    assert extractors.networks("inception", []) == ["inception"]


def test_training_writes_the_network_and_tells_its_accuracy(tmp_path):
    seen = []
    trained = train(tmp_path, "classifier", on_epoch=lambda *row: seen.append(row))
    assert [row[0] for row in seen] == [1, 2] and all(0 <= row[2] <= 1 for row in seen)
    network, description = classifier.load_classifier(tmp_path / "classifier.safetensors")
    assert (
        classifier.accuracy(network, images(40, 2), np.arange(40) % 2)
        == trained.accuracy
        == description["test_accuracy"]
    )
    assert (
        description["extractor"],
        description["dataset"],
        description["image_size"],
        description["num_classes"],
    ) == (
        "classifier",
        "toys",
        16,
        2,
    )
    train(tmp_path, "rotation")
    assert classifier.load_classifier(tmp_path / "rotation.safetensors")[1]["num_classes"] == 4


@pytest.mark.parametrize(
    ("names", "classes"),
    [(["classifier"], 2), (["rotation"], 0), (["rotation", "classifier"], 2)],
)
def test_an_extractor_gives_features_of_the_first_network_and_verdicts_of_the_classifier(
    folder, tmp_path, names, classes
):
    target = made(folder, tmp_path / "extractor", *names)
    extractor = extractors.load(target)
    sample = extractor.extract(images(7))
    network, description = classifier.load_classifier(folder / f"{names[0]}.safetensors")
    of_classes, its_description = classifier.load_classifier(folder / "classifier.safetensors")
    assert (sample.features == classifier.extract(network, images(7))[0]).all()
    assert (extractor.name, extractor.num_features, extractor.num_classes) == (
        names[0],
        128,
        classes,
    )
    assert extractor.sha256 == description["sha256"]
    described = {
        "extractor": names[0],
        "extractor_sha256": description["sha256"],
        "resize": "none",
        "device": "cpu",
    }
    if "classifier" in names:
        verdicts = classifier.extract(of_classes, images(7))[1]
        assert (sample.verdicts == verdicts).all()
        assert (extractor.probabilities(images(7)).argmax(axis=1) == verdicts).all()
        if names[0] != "classifier":
            described["classifier_sha256"] = its_description["sha256"]
    else:
        assert sample.verdicts is None
        with pytest.raises(DataError, match="has no classifier"):
            extractor.probabilities(images(7))
    assert extractor.description() == described
    assert {path.name for path in target.glob("*.safetensors")} == {
        f"{name}.safetensors" for name in names
    }


def test_inception_gives_the_features_and_the_classifier_the_verdicts(folder, tmp_path):
    extractor = extractors.load(made(folder, tmp_path / "extractor", "inception", "classifier"))
    seen = []
    sample = extractor.extract(images(2), lambda *row: seen.append(row))
    network, description = inception.load(folder / "inception.safetensors")
    of_classes, its_description = classifier.load_classifier(folder / "classifier.safetensors")
    assert sample.features.shape == (2, 2048)
    assert (sample.features == inception.extract(network, images(2))).all()
    assert (sample.verdicts == classifier.extract(of_classes, images(2))[1]).all()
    assert seen == [(2, 2)]
    assert (extractor.num_features, extractor.num_classes) == (2048, 2)
    assert extractor.description() == {
        "extractor": "inception", "extractor_sha256": description["weights_sha256"],
        "resize": "bicubic to 299 x 299, clean-fid",
        "device": "cpu",
        "classifier_sha256": its_description["sha256"],
    }  # fmt: skip


def test_an_extractor_that_is_not_whole_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"extractor\.json: missing"):
        extractors.load(folder)
    target = made(folder, tmp_path / "extractor", "rotation", "classifier")
    (target / "classifier.json").unlink()
    with pytest.raises(DataError, match=r"classifier\.json: missing"):
        extractors.load(target)
    # What a killed run leaves: a network of another seed, without the list that names it.
    (target / "classifier.safetensors").unlink()
    train(target, "classifier", seed=2)
    with pytest.raises(
        DataError,
        match=r"classifier\.safetensors: is not the one that extractor\.json names: run reference",
    ):
        extractors.load(target)
    extractors.finish(target, ["rotation", "classifier"])
    extractors.load(target)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"extractor": "vgg", "sha256": {"vgg": "0"}},
        {"extractor": "rotation", "sha256": {}},
        {"extractor": None},
    ],
)
def test_a_list_of_networks_that_names_no_extractor_is_refused(tmp_path, content):
    files.write_json(tmp_path / "extractor.json", content)
    with pytest.raises(
        DataError, match="names no extractor, expected one of classifier, rotation, inception"
    ):
        extractors.load(tmp_path)


@pytest.mark.holds("R-67")
def test_a_network_no_better_than_guessing_is_told():
    def trained(accuracy):
        return extractors.Trained(accuracy, 0.5, {"used": True})

    assert trained(0.75).warnings("classifier", 100) == []
    (warning,) = trained(0.55).warnings("classifier", 100)
    assert "55.0 % of 100 test images, and guessing in 50.0 %" in warning
    assert "dataset.class_folders" in warning
    assert "class_folders" not in trained(0.2).warnings("rotation", 100)[0]


@pytest.mark.holds("R-67")
def test_labels_that_look_shuffled_are_told():
    def warnings(shuffled):
        return extractors.Trained(0.9, 0.1, {"used": True}, shuffled).warnings("classifier", 100)

    assert warnings(None) == warnings(0.0) == warnings(0.02) == []
    (warning,) = warnings(0.052)
    assert warning.startswith("about 5 % of the labels look shuffled")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_too_few_images_for_figures_are_refused_before_anything_is_trained(split):
    splits = {
        name: Split(images(19 if name == split else 20), np.zeros(20, np.int64))
        for name in ("train", "validation", "test")
    }
    with pytest.raises(DataError, match=rf"{split}: 19 images: .* raise dataset\.{split}_size"):
        extractors.check_counts(splits)
    extractors.check_counts({name: Split(images(20), np.zeros(20)) for name in splits})


def test_the_rotation_network_learns_from_mirror_images_only_if_told(tmp_path):
    assert train(tmp_path, "rotation", flip="auto").flip == {"used": False}
    assert train(tmp_path, "rotation", flip="always").flip == {"used": True}
