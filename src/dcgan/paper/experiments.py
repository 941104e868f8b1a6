"""The experiments of Radford et al. 2015 (arXiv 1511.06434), sections 6.1 to 6.3, each a picture and a report.

What they are made of is in `concepts` (latent vectors) and `investigate` (networks); here is what
is chosen, drawn and counted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcgan import data, rng
from dcgan.networks import exports, sampling
from dcgan.networks.models import Discriminator, Generator
from dcgan.paper import concepts, investigate, panels
from dcgan.pictures import gif
from dcgan.pictures.grids import Picture

WALK_POINTS, WALK_COLUMNS = 9, 10
TURN_WEIGHTS = tuple(i / 4 for i in range(-4, 5))
TURN_ROWS, TURN_SAMPLES = 5, 50  # in the picture, in the figures
TURN_CONTROLS = 8  # random vectors as long as the turn vector
GUIDED_MAPS, GUIDED_TOP = 6, 3
FORGETTING_SAMPLES, FORGETTING_COLUMNS = 1000, 12
NO_VERDICTS = "the extractor knows no classes"

Judge = Callable[[data.Images], npt.NDArray[np.float32]]
Report = dict[str, Any]
# Without a picture the report says why, under `left_out`.
Result = tuple[Picture | None, Report]


class Experiments:
    """One generator, the candidates that the experiments choose from, and what a classifier says of them."""

    def __init__(
        self,
        generator: Generator,
        judge: Judge | None,
        classes: Sequence[str],
        *,
        seed: int,
        num_candidates: int,
    ) -> None:
        """Draw the candidates.

        Args:
            generator: in evaluation mode.
            judge: gives the probabilities, N x num_classes, of uint8 images N x C x H x W; None:
                there is no classifier.
            classes: their names.
            seed: of every draw.
            num_candidates: at least 13.
        """
        self.generator, self.judge, self.classes, self.seed = generator, judge, classes, seed
        self.z = self._latents(num_candidates, "paper candidates")
        self.images = sampling.generate(generator, self.z)
        self.probabilities = None if judge is None else judge(self.images)

    def walk(self) -> Result:
        """Section 6.1, figure 4: a closed walk through nine latent vectors."""
        points = self._latents(WALK_POINTS, "paper walk")
        path = gif.walk(points, WALK_COLUMNS, self.generator.params.z_distribution)
        report = {
            "points": WALK_POINTS,
            "steps_between": WALK_COLUMNS,
            "distribution": self.generator.params.z_distribution,
        }
        return panels.walk(sampling.generate(self.generator, path), WALK_COLUMNS), report

    def arithmetic(self, names: Sequence[str]) -> Result:
        """Section 6.3.2, figure 7: A - B + C of three classes; no names: see `concepts.arithmetic_classes`.

        Raises:
            ConfigError: a name that is no class.
        """
        if self.judge is None or self.probabilities is None:
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
                    "left_out": f"{len(positions)} of {len(self.z)} samples are taken for {name}: three are needed"
                }
        found = concepts.arithmetic(self.generator, self.z, self.images, chosen, self.seed)
        report: Report = {
            "concepts": abc,
            "exemplar_probabilities": [
                _floats(self.probabilities[positions, label])
                for positions, label in zip(chosen, labels, strict=True)
            ],
        }
        images = {
            "means": found.means,
            "pixel_means": found.pixel_means,
            "result": found.result,
            "pixel_result": found.pixel_result[None],
        }
        for key, value in images.items():
            said = self.judge(value)
            report[f"{key}_verdicts"] = [self.classes[label] for label in said.argmax(axis=1)]
            report[f"{key}_probabilities"] = _floats(said.max(axis=1))
        verdicts = [
            f"taken for\n{name}"
            for name in (report["result_verdicts"][4], report["pixel_result_verdicts"][0])
        ]
        return panels.arithmetic(found, abc, verdicts), report

    def turn(self) -> Result:
        """Section 6.3.2, figure 8: a direction that moves the content of images from left to right.

        It is chosen and measured among the samples of the class whose centres of mass differ most,
        or among all where there are no verdicts. The control is how far random vectors of the same
        length move it.
        """
        centre = concepts.centres(self.images)
        groups = (
            np.zeros(len(self.z), np.int64)
            if self.probabilities is None
            else self.probabilities.argmax(axis=1)
        )
        # Not a class of a few samples, which may be misjudged ones.
        positions = concepts.widest(
            centre, groups, max(2 * concepts.TURN_EXEMPLARS + TURN_ROWS, len(self.z) // 50)
        )
        mixed = len(set(groups[positions])) > 1 or self.probabilities is None
        name = "all samples" if mixed else self.classes[groups[positions[0]]]
        found = concepts.turn(self.z, centre, positions)
        others = np.setdiff1d(positions, np.concatenate([found.left, found.right]))[:TURN_SAMPLES]
        rows = concepts.moved(self.generator, self.z[others], found.vector, TURN_WEIGHTS)
        centre_at = self._mean_centres(rows)
        chance = torch.randn(
            (TURN_CONTROLS, len(found.vector)), generator=rng.generator(self.seed, "paper turn")
        )
        chance *= found.vector.norm() / chance.norm(dim=1, keepdim=True)
        ends = [
            self._mean_centres(concepts.moved(self.generator, self.z[others], vector, (-1.0, 1.0)))
            for vector in chance
        ]
        report: Report = {
            "samples": name, "chosen_from": len(positions), "measured_on": len(others), "weights": TURN_WEIGHTS,
            "left_centres": _floats(centre[found.left]), "right_centres": _floats(centre[found.right]),
            "mean_centre": centre_at, "shift": centre_at[-1] - centre_at[0],
            "shift_random": sorted(right - left for left, right in ends),
        }  # fmt: skip
        if self.judge is not None and not mixed:
            verdicts = (
                self.judge(rows.reshape(-1, *rows.shape[2:])).argmax(axis=1).reshape(rows.shape[:2])
            )
            report["share_still_of_the_class"] = _floats(
                (verdicts == groups[positions[0]]).mean(axis=0)
            )
        exemplars = self.images[found.left], self.images[found.right]
        return panels.turn(*exemplars, rows[:TURN_ROWS], TURN_WEIGHTS, centre_at, name), report

    def forgetting(self, name: str | None) -> Result:
        """Section 6.3.1, figure 6: samples without the units that say a class is drawn, and without as many random ones.

        The regression learns from the candidates; the shares are those of new samples. No name: the
        most frequent class.

        Raises:
            ConfigError: a name that is no class.
        """
        if self.judge is None or self.probabilities is None:
            return None, {"left_out": NO_VERDICTS}
        known = self.probabilities.argmax(axis=1)
        label = (
            int(np.bincount(known).argmax())
            if name is None
            else concepts.class_positions([name], self.classes, "forget")[0]
        )
        name = self.classes[label]
        activations = investigate.unit_means(self.generator, self.z)
        found = investigate.class_units(activations, known == label, self.seed)
        if found is None:
            few = f"{int((known == label).sum())} of {len(known)} samples are taken for {name}"
            return None, {
                "left_out": f"{few}: at least {investigate.MIN_REGRESSION}, and as many others, are needed"
            }
        units, count = activations.shape[1], len(found.units)
        report: Report = {
            "class": name, "units": units, "dropped": count, "held_out_accuracy": found.accuracy, "samples": FORGETTING_SAMPLES,
            "regression_samples": found.num_train, "held_out_samples": found.num_held_out,
        }  # fmt: skip
        dropped = {"none": np.empty(0, np.int64), "class": found.units}
        dropped["random"] = investigate.random_units(units, count, self.seed)
        z = self._latents(FORGETTING_SAMPLES, "paper forgetting")
        images, verdicts = {}, {}
        for key, positions in dropped.items():
            with investigate.without_units(self.generator, positions):
                images[key] = sampling.generate(self.generator, z)
            verdicts[key] = self.judge(images[key]).argmax(axis=1)
            counts = np.bincount(verdicts[key], minlength=len(self.classes))
            report[f"shares_without_{key}"] = dict(
                zip(self.classes, _floats(counts / len(z)), strict=True)
            )
        members, others = (
            np.flatnonzero(verdicts["none"] == label),
            np.flatnonzero(verdicts["none"] != label),
        )
        for key in ("class", "random"):
            for side, positions in (("class", members), ("others", others)):
                same = verdicts[key][positions] == verdicts["none"][positions]
                report[f"{side}_unchanged_without_{key}"] = (
                    float(same.mean()) if len(same) else None
                )
        texts = {
            "none": "all units",
            "class": f"without\n{count} units",
            "random": f"without {count}\nrandom units",
        }
        blocks = [
            (title, [(texts[key], images[key][positions[:FORGETTING_COLUMNS]]) for key in texts])
            for title, positions in (
                (f"Samples taken for {name}", members),
                ("Other samples", others),
            )
            if len(positions)
        ]
        return panels.forgetting(blocks), report

    @staticmethod
    def _mean_centres(rows: data.Images) -> list[float]:
        """Of images num_samples x num_weights x C x H x W, a mean over the samples for each weight."""
        return _floats(
            concepts.centres(rows.reshape(-1, *rows.shape[2:])).reshape(rows.shape[:2]).mean(axis=0)
        )

    def _latents(self, count: int, stream: str) -> Tensor:
        p = self.generator.params
        return sampling.latents(
            range(count),
            seed=self.seed,
            z_dim=p.z_dim,
            distribution=p.z_distribution,
            stream=stream,
        )


def guided(discriminator: Discriminator, images: data.Images, seed: int) -> Result:
    """Section 6.2, figure 5: guided backpropagation of D's last convolution on real images, beside random filters.

    Args:
        discriminator: in evaluation mode.
        images: uint8 N x C x H x W, among which the strongest responses are looked for.
        seed: of the untrained discriminator.
    """
    networks = {"trained": discriminator, "untrained": exports.untrained(discriminator, seed)}
    top = min(GUIDED_TOP, len(images))
    found = {
        key: investigate.guided(network, images, maps=GUIDED_MAPS, top=top)
        for key, network in networks.items()
    }
    report: Report = {"images": len(images), "maps": len(found["trained"]), "top": top}
    for key, responses in found.items():
        report[f"responses_{key}"] = [_floats(response.responses) for response in responses]
    return panels.guided(images, found["trained"], found["untrained"]), report


def _floats(values: npt.NDArray[Any]) -> list[float]:
    return [float(value) for value in values]
