"""The five pictures of the paper's experiments, uint8 H x W x 3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcgan import data
from dcgan.paper.concepts import Arithmetic
from dcgan.paper.investigate import Response
from dcgan.pictures.grids import Picture, cell, stack, table


def gradient(values: npt.NDArray[np.floating[Any]]) -> data.Images:
    """A gradient C x H x W as an image.

    Zero is grey. The value of the largest magnitude is white if positive, black if negative.
    """
    largest = np.abs(values).max()
    scaled = values / largest if largest > 0 else np.zeros_like(values)
    return data.to_uint8(torch.from_numpy(scaled)).numpy()


def walk(images: data.Images, columns: int) -> Picture:
    """A closed walk, a row from each latent vector to the next.

    Args:
        images: N x C x H x W, N a multiple of `columns`.
        columns: images from one latent vector to the next.
    """
    rows = [
        [cell(image) for image in images[start : start + columns]]
        for start in range(0, len(images), columns)
    ]
    count = len(rows)
    names = [f"z{i + 1} to z{(i + 1) % count + 1}" for i in range(count)]
    return table(
        rows,
        title="A walk through nine latent vectors; the first image of each row is the vector's own",
        rows=names,
    )


def arithmetic(images: Arithmetic, names: Sequence[str], verdicts: Sequence[str]) -> Picture:
    """A - B + C in the latent space and in pixels.

    Args:
        images: of A, B, C and of the result.
        names: of A, B and C.
        verdicts: what the classifier says of the latent result and of the pixels' result.
    """
    concepts = [
        [cell(image) for image in (*images.exemplars[i], images.means[i], images.pixel_means[i])]
        for i in range(len(names))
    ]
    signs = [f"{sign} {name}" for sign, name in zip(("", "-", "+"), names, strict=True)]
    columns = ["exemplar", "exemplar", "exemplar", "mean of\ntheir z", "mean of\ntheir pixels"]
    left = table(concepts, title="The concepts", rows=signs, columns=columns)
    grid = [[cell(image) for image in images.result[start : start + 3]] for start in (0, 3, 6)]
    middle = table(grid, title="In z, with 8 neighbours around it", columns=["", verdicts[0], ""])
    right = table([[cell(images.pixel_result)]], title="In pixels (control)", columns=[verdicts[1]])
    return stack([left, middle, right], across=True)


def turn(
    left: data.Images,
    right: data.Images,
    rows: data.Images,
    weights: Sequence[float],
    centres: Sequence[float],
    name: str,
) -> Picture:
    """The turn vector's exemplars, and other samples plus multiples of it.

    Args:
        left: exemplars, 4 x C x H x W.
        right: exemplars, 4 x C x H x W.
        rows: num_samples x num_weights x C x H x W.
        weights: the multiples, a column each.
        centres: mean horizontal centre of mass at each weight, pixels.
        name: of the class.
    """
    exemplars = [[cell(image) for image in side] for side in (left, right)]
    title = f"{name}: the four furthest left, the four furthest right"
    above = table(exemplars, title=title, rows=["left", "right"])
    columns = [
        f"{weight:+.2f}\n{centre:.1f} px" for weight, centre in zip(weights, centres, strict=True)
    ]
    cells = [[cell(image) for image in row] for row in rows]
    title = (
        "Other samples plus so many times the turn vector; below the weight the mean centre of mass"
    )
    names = [f"sample {i + 1}" for i in range(len(rows))]
    return stack([above, table(cells, title=title, rows=names, columns=columns)])


def guided(
    images: data.Images, trained: Sequence[Response], untrained: Sequence[Response]
) -> Picture:
    """What the maps of D's last convolution answer to, beside random filters.

    Each image stands before its guided gradient.

    Args:
        images: N x C x H x W, to which the responses point.
        trained: of D, a row each.
        untrained: of a D with random weights, a row each.
    """
    tables = []
    for title, responses in (("Trained D", trained), ("Random filters", untrained)):
        cells = []
        for response in responses:
            row = zip(response.images, response.regions, response.gradients, strict=True)
            pairs = [(cell(images[i], region), cell(gradient(values))) for i, region, values in row]
            cells.append([picture for pair in pairs for picture in pair])
        names = [f"map {i}" for i in range(len(cells))]
        columns = [text for i in range(len(pairs)) for text in (f"image {i + 1}", "gradient")]
        tables.append(table(cells, title=title, rows=names, columns=columns))
    return stack(tables, across=True)


def forgetting(blocks: Sequence[tuple[str, Sequence[tuple[str, data.Images]]]]) -> Picture:
    """Samples with and without some units.

    Args:
        blocks: a title and its rows; a row is a label and images N x C x H x W.
    """
    tables = []
    for title, rows in blocks:
        cells = [[cell(image) for image in images] for _, images in rows]
        tables.append(table(cells, title=title, rows=[label for label, _ in rows]))
    return stack(tables)
