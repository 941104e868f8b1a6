from dcgan import data
from dcgan.promotion import kinship


def sketch(first: int, count: int) -> list[str]:
    """Of `count` images; hashes are as good as random."""
    import hashlib

    numbers = range(first, first + count)
    return data.sketch(hashlib.sha256(str(number).encode()).hexdigest() for number in numbers)


def test_the_share_of_a_sample_estimates_what_two_sets_share():
    common, size = kinship.shared(sketch(0, 1000), sketch(500, 1000))
    assert size == data.SKETCH
    assert 10 < common < 34  # a third of the 64, by 3.5 deviations
    assert kinship.shared(sketch(0, 1000), sketch(0, 1000)) == (64, 64)


def test_only_sets_that_share_nothing_are_of_other_data():
    assert kinship.of_other_data(sketch(0, 400), sketch(5000, 400)) == (
        "0 of a sample of 64 images are in both data sets"
    )
    assert kinship.of_other_data(sketch(0, 400), sketch(0, 500)) is None  # it has grown
    assert kinship.of_other_data([], sketch(0, 400)) is None  # of an earlier version
    assert kinship.of_other_data(sketch(0, 5), sketch(5, 5)) == (
        "0 of a sample of 10 images are in both data sets"
    )
