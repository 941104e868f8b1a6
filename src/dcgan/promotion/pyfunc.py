"""What MLflow runs to serve a generator: seeds and counts in, PNGs out.

MLflow executes a copy of this file in the model's folder; importing it does nothing but name the
model to MLflow.
"""

import base64
import io
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

MAX_COUNT = 1000  # images that one request may ask for


class ImageModel(PythonModel):  # type: ignore[misc]  # mlflow is Any to mypy
    """A generator behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Read the generator, its sha256 compared with the recorded one."""
        from dcgan.networks import exports

        self.generator, _ = exports.load_generator(Path(context.artifacts["generator"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The first `count` images of each `seed`.

        Args:
            context: not used; `load_context` had it.
            model_input: columns `seed`, 0 to 4294967295, and `count`; a row a request, at most 1000
                images in all.
            params: none.

        Returns:
            Columns `seed`, `index` and `png`, base64; a row an image. Image `index` of a seed is
            the same whatever the count.

        Raises:
            MlflowException: a seed or a count is out of range; the server answers 400 with the
                message.
        """
        from dcgan.networks import sampling

        pairs = list(zip(model_input["seed"].tolist(), model_input["count"].tolist(), strict=True))
        for seed, count in pairs:
            if not 0 <= seed < 2**32:
                raise refused(f"seed = {seed}: must be 0 to 4294967295")
            if not 1 <= count <= MAX_COUNT:
                raise refused(f"count = {count}: must be 1 to {MAX_COUNT}")
        if (total := sum(count for _, count in pairs)) > MAX_COUNT:
            raise refused(
                f"{len(pairs)} rows ask for {total} images: must be at most {MAX_COUNT} a request"
            )
        rows = []
        for seed, count in pairs:
            images = sampling.sample(self.generator, count, seed=seed)
            rows += [
                {"seed": seed, "index": index, "png": png(image)}
                for index, image in enumerate(images)
            ]
        return pd.DataFrame(rows, columns=["seed", "index", "png"])


def png(image: Any) -> str:
    """A C x H x W uint8 array as a PNG in base64."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def refused(message: str) -> mlflow.MlflowException:
    """An error that MLflow's server answers as the caller's fault."""
    return mlflow.MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(ImageModel())
