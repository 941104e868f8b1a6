"""The experiments of Radford et al. 2015 (arXiv 1511.06434), sections 6.1 to 6.3.

Each gives a picture and a report. What they are made of is in `concepts` (latent vectors) and
`investigate` (networks); here is what is chosen, drawn and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan import data, rng
from dcgan.networks import models, sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.paper import concepts, investigate, panels
from dcgan.pictures import gif
from dcgan.pictures.grids import Picture

WALK_POINTS, WALK_COLUMNS = 9, 10
TURN_WEIGHTS = tuple(i / 4 for i in range(-4, 5))
TURN_ROWS, TURN_SAMPLES = 5, 50  # samples in the picture, samples in the figures
TURN_CONTROLS = 8  # random vectors as long as the turn vector
GUIDED_MAPS, GUIDED_TOP = 6, 3
FORGETTING_SAMPLES, FORGETTING_COLUMNS = 1000, 12
NO_VERDICTS = "the extractor knows no classes"

# From uint8 images N x C x H x W to the probabilities of the classes, N x num_classes.
Classify = Callable[[data.Images], npt.NDArray[np.float32]]
Report = dict[str, Any]
# Without a picture the report says why, under `left_out`.
Result = tuple[Picture | None, Report]


@dataclass(frozen=True, eq=False)
class Drawn:
    """The same samples, drawn with all of G's units or without some of them (section 6.3.1).

    Attributes:
        images: uint8, N x C x H x W.
        verdicts: N, the class that each is taken for.
    """

    images: data.Images
    verdicts: data.Labels

    def shares(self, classes: Sequence[str]) -> dict[str, float]:
        """The share of the samples that is taken for each class."""
        counts = np.bincount(self.verdicts, minlength=len(classes))
        return dict(zip(classes, _floats(counts / len(self.verdicts)), strict=True))

    def unchanged(self, whole: "Drawn", positions: investigate.Positions) -> float | None:
        """The share of `positions` with the same verdict as in `whole`; None if they are none."""
        same = self.verdicts[positions] == whole.verdicts[positions]
        return float(same.mean()) if len(same) else None


class Experiments:
    """The experiments on one generator.

    Attributes:
        z: latent vectors of the candidates, from which the experiments choose.
        images: of the candidates, uint8 N x C x H x W.
        probabilities: of the candidates' classes, N x num_classes; None: there is no classifier.
    """

    def __init__(
        self,
        generator: Generator,
        classify: Classify | None,
        classes: Sequence[str],
        *,
        seed: int,
        num_candidates: int,
    ) -> None:
        """Draw the candidates.

        Args:
            generator: in evaluation mode.
            classify: gives the probabilities of the classes of images; None: there is no
                classifier.
            classes: their names.
            seed: of every draw.
            num_candidates: at least 13.
        """
        self.generator, self.classify, self.classes, self.seed = generator, classify, classes, seed
        self.z = self._latents(num_candidates, "paper candidates")
        self.images = sampling.generate(generator, self.z)
        self.probabilities = None if classify is None else classify(self.images)

    def walk(self) -> Result:
        """Section 6.1, figure 4: a closed walk through nine latent vectors."""
        points = self._latents(WALK_POINTS, "paper walk")
        path = gif.walk(points, WALK_COLUMNS, self.generator.architecture.z_distribution)
        report = {
            "points": WALK_POINTS,
            "steps_between": WALK_COLUMNS,
            "distribution": self.generator.architecture.z_distribution,
        }
        return panels.walk(sampling.generate(self.generator, path), WALK_COLUMNS), report

    def arithmetic(self, names: Sequence[str]) -> Result:
        """Section 6.3.2, figure 7: A - B + C of three classes.

        Args:
            names: of the classes; none: those of `concepts.arithmetic_classes`.

        Raises:
            ConfigError: a name that is no class.
        """
        if self.classify is None or self.probabilities is None:
            return None, {"left_out": NO_VERDICTS}
        labels = concepts.arithmetic_classes(names, self.classes)
        if labels is None:
            return None, {
                "left_out": f"the data set has {len(self.classes)} classes: three are needed"
            }
        chosen = [concepts.exemplars(self.probabilities, label) for label in labels]
        abc = [self.classes[label] for label in labels]
        for name, positions in zip(abc, chosen, strict=True):
            if len(positions) < concepts.EXEMPLARS:
                return None, {
                    "left_out": f"{len(positions)} of {len(self.z)} samples are taken for {name}:"
                    " three are needed"
                }
        results = concepts.arithmetic(self.generator, self.z, self.images, chosen, self.seed)
        report: Report = {
            "concepts": abc,
            "exemplar_probabilities": [
                _floats(self.probabilities[positions, label])
                for positions, label in zip(chosen, labels, strict=True)
            ],
        }
        images = {
            "means": results.means,
            "pixel_means": results.pixel_means,
            "result": results.result,
            "pixel_result": results.pixel_result[None],
        }
        for key, value in images.items():
            probabilities = self.classify(value)
            verdicts = probabilities.argmax(axis=1)
            report[f"{key}_verdicts"] = [self.classes[label] for label in verdicts]
            report[f"{key}_probabilities"] = _floats(probabilities.max(axis=1))
        middle, pixels = report["result_verdicts"][4], report["pixel_result_verdicts"][0]
        titles = [f"taken for\n{name}" for name in (middle, pixels)]
        return panels.arithmetic(results, abc, titles), report

    def turn(self) -> Result:
        """Section 6.3.2, figure 8: a direction that moves the content of images from left to right.

        It is chosen and measured among the samples of the class whose centres of mass differ most,
        or among all samples if there is no classifier. The control is how far random vectors of the
        same length move the content.
        """
        centre = concepts.centres(self.images)
        groups = (
            np.zeros(len(self.z), np.int64)
            if self.probabilities is None
            else self.probabilities.argmax(axis=1)
        )
        # Not a class of a few samples: their verdicts may be wrong.
        at_least = max(2 * concepts.TURN_EXEMPLARS + TURN_ROWS, len(self.z) // 50)
        positions = concepts.widest(centre, groups, at_least)
        mixed = len(set(groups[positions])) > 1 or self.probabilities is None
        name = "all samples" if mixed else self.classes[groups[positions[0]]]
        direction = concepts.turn(self.z, centre, positions)
        others = np.setdiff1d(positions, np.concatenate([direction.left, direction.right]))[
            :TURN_SAMPLES
        ]
        rows = concepts.moved(self.generator, self.z[others], direction.vector, TURN_WEIGHTS)
        centre_at = self._mean_centres(rows)
        generator = rng.generator(self.seed, "paper turn")
        controls = torch.randn((TURN_CONTROLS, len(direction.vector)), generator=generator)
        controls *= direction.vector.norm() / controls.norm(dim=1, keepdim=True)
        ends = [
            self._mean_centres(concepts.moved(self.generator, self.z[others], vector, (-1.0, 1.0)))
            for vector in controls
        ]
        report: Report = {
            "samples": name, "chosen_from": len(positions), "measured_on": len(others),
            "weights": TURN_WEIGHTS,
            "left_centres": _floats(centre[direction.left]),
            "right_centres": _floats(centre[direction.right]),
            "mean_centre": centre_at, "shift": centre_at[-1] - centre_at[0],
            "shift_random": sorted(right - left for left, right in ends),
        }  # fmt: skip
        if self.classify is not None and not mixed:
            probabilities = self.classify(rows.reshape(-1, *rows.shape[2:]))
            verdicts = probabilities.argmax(axis=1).reshape(rows.shape[:2])
            same = verdicts == groups[positions[0]]
            report["share_still_of_the_class"] = _floats(same.mean(axis=0))
        exemplars = self.images[direction.left], self.images[direction.right]
        return panels.turn(*exemplars, rows[:TURN_ROWS], TURN_WEIGHTS, centre_at, name), report

    def forgetting(self, name: str | None) -> Result:
        """Section 6.3.1, figure 6: samples without the units that draw a class.

        The regression learns from the candidates; the shares are those of new samples. The control
        drops the same number of random units.

        Args:
            name: of the class; None: the most frequent one.

        Raises:
            ConfigError: a name that is no class.
        """
        if self.classify is None or self.probabilities is None:
            return None, {"left_out": NO_VERDICTS}
        verdicts = self.probabilities.argmax(axis=1)
        if name is None:
            label = int(np.bincount(verdicts).argmax())
        else:
            (label,) = concepts.class_positions([name], self.classes, "forget")
        name = self.classes[label]
        activations = investigate.unit_means(self.generator, self.z)
        fitted = investigate.class_units(activations, verdicts == label, self.seed)
        if fitted is None:
            few = (
                f"{int((verdicts == label).sum())} of {len(verdicts)} samples are taken for {name}"
            )
            least = investigate.MIN_REGRESSION
            return None, {"left_out": f"{few}: at least {least}, and as many others, are needed"}
        units, count = activations.shape[1], len(fitted.units)
        random = investigate.random_units(units, count, self.seed)
        z = self._latents(FORGETTING_SAMPLES, "paper forgetting")
        whole = self._draw_without(z, np.empty(0, np.int64), self.classify)
        without_class = self._draw_without(z, fitted.units, self.classify)
        without_random = self._draw_without(z, random, self.classify)
        members = np.flatnonzero(whole.verdicts == label)
        others = np.flatnonzero(whole.verdicts != label)
        report: Report = {
            "class": name,
            "units": units,
            "dropped": count,
            "held_out_accuracy": fitted.accuracy,
            "samples": FORGETTING_SAMPLES,
            "regression_samples": fitted.num_train,
            "held_out_samples": fitted.num_held_out,
            "shares_without_none": whole.shares(self.classes),
            "shares_without_class": without_class.shares(self.classes),
            "shares_without_random": without_random.shares(self.classes),
            "class_unchanged_without_class": without_class.unchanged(whole, members),
            "class_unchanged_without_random": without_random.unchanged(whole, members),
            "others_unchanged_without_class": without_class.unchanged(whole, others),
            "others_unchanged_without_random": without_random.unchanged(whole, others),
        }
        rows = [
            ("all units", whole),
            (f"without\n{count} units", without_class),
            (f"without {count}\nrandom units", without_random),
        ]
        blocks = [
            (title, [(text, drawn.images[positions[:FORGETTING_COLUMNS]]) for text, drawn in rows])
            for title, positions in (
                (f"Samples taken for {name}", members),
                ("Other samples", others),
            )
            if len(positions)
        ]
        return panels.forgetting(blocks), report

    def _draw_without(self, z: Tensor, units: investigate.Positions, classify: Classify) -> Drawn:
        with investigate.without_units(self.generator, units):
            images = sampling.generate(self.generator, z)
        return Drawn(images, classify(images).argmax(axis=1))

    @staticmethod
    def _mean_centres(rows: data.Images) -> list[float]:
        """The mean centre at each weight, of images num_samples x num_weights x C x H x W."""
        centres = concepts.centres(rows.reshape(-1, *rows.shape[2:])).reshape(rows.shape[:2])
        return _floats(centres.mean(axis=0))

    def _latents(self, count: int, stream: str) -> Tensor:
        p = self.generator.architecture
        return sampling.latents(
            range(count), seed=self.seed, z_dim=p.z_dim, distribution=p.z_distribution,
            stream=stream,
        )  # fmt: skip


def guided(discriminator: Discriminator, images: data.Images, *, seed: int, init: str) -> Result:
    """Section 6.2, figure 5: guided backpropagation of D's last convolution, beside random filters.

    Args:
        discriminator: in evaluation mode.
        images: uint8 N x C x H x W, real, among which the strongest responses are looked for.
        seed: of the untrained discriminator.
        init: of its weights, as the training's `discriminator.init`.
    """
    untrained = models.untrained(discriminator.architecture, seed=seed, init=init)
    untrained.to(next(discriminator.parameters()).device)
    networks = {"trained": discriminator, "untrained": untrained}
    top = min(GUIDED_TOP, len(images))
    responses = {
        key: investigate.guided(network, images, maps=GUIDED_MAPS, top=top)
        for key, network in networks.items()
    }
    report: Report = {"images": len(images), "maps": len(responses["trained"]), "top": top}
    for key, maps in responses.items():
        report[f"responses_{key}"] = [_floats(response.responses) for response in maps]
    return panels.guided(images, responses["trained"], responses["untrained"]), report


def _floats(values: npt.NDArray[Any]) -> list[float]:
    return [float(value) for value in values]
