from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.raw.given import raw_of
from tests.support.tiny import (
    encoded,
    pictures,
    write_celeba,
    write_cifar,
    write_lsun,
    write_svhn,
    write_tree,
)


@pytest.mark.parametrize("name", ["cifar10", "svhn", "celeba", "lsun", "folder"])
def test_eight_threads_read_what_one_reads(tmp_path, name):
    source = tmp_path / "source"
    if name == "folder":
        write_tree(
            source,
            {
                f"{number}.png": encoded(image, "PNG")
                for number, image in enumerate(pictures(40)[0])
            },
        )
    else:
        {"cifar10": write_cifar, "svhn": write_svhn, "celeba": write_celeba, "lsun": write_lsun}[
            name
        ](source)
    pool = raw_of(tmp_path, name, source).pool
    alone = [np.asarray(pool.read(index)).tobytes() for index in range(len(pool))]
    order = list(range(len(pool))) * 50
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda index: np.asarray(pool.read(index)).tobytes(), order))
    assert together == [alone[index] for index in order]
