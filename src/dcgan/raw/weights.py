"""Published weights of networks that are not trained here: downloaded once, or the user's file."""

from pathlib import Path

from dcgan.errors import ConfigError, DataError, EnvironmentProblem
from dcgan.files import own_path
from dcgan.raw import downloads
from dcgan.raw.dataset import GIB, HOUR, File

# The weights of Inception of 2015-12-05, which FID has been computed with since it was proposed, as
# torch-fidelity converted them from TensorFlow.
INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_BYTES = 95_628_359
# Where GitHub keeps the files of a release: it redirects to one of them.
REDIRECTS = ("release-assets.githubusercontent.com", "objects.githubusercontent.com")


def fetch_inception(weights: str | None, sha256: str | None, folder: Path) -> tuple[Path, str]:
    """The file with Inception's weights, and the sha256 that its reader must check.

    Args:
        weights: a file's path, see `own_path`, an https URL, or None: the published ones.
        sha256: 64 hex digits; None: those of the published file.
        folder: where a download is kept, so that the next run needs no network.

    Raises:
        ConfigError: `weights` is another kind of URL.
        DataError: what a URL serves has another sha256.
        EnvironmentProblem: the server does not answer, the disk is full, or another process
            downloads for too long.
    """
    expected = sha256 or INCEPTION_SHA256
    if weights is not None and "://" not in weights:
        return own_path(weights), expected
    # Named after its content, so that files of several origins lie beside one another.
    path = folder / f"inception-{expected[:16]}.pth"
    limits = File(
        (path.name,),
        max_bytes=INCEPTION_BYTES if expected == INCEPTION_SHA256 else GIB,
        seconds=HOUR,
    )
    try:
        downloads.fetch_file(
            weights or INCEPTION_URL, path, expected, limits, REDIRECTS if weights is None else ()
        )
    except (ConfigError, DataError, EnvironmentProblem) as error:
        advice = (
            "; or set it to a file that you have" if isinstance(error, EnvironmentProblem) else ""
        )
        value = "null" if weights is None else "a URL"
        raise type(error)(f"params.yaml: reference.weights = {value}: {error}{advice}") from error
    return path, expected
