"""A model folder that is not what its list says is refused, and nothing in it is run."""

import json
import pickle
import resource
from pathlib import Path

import pytest
import torch

from dcgan import files
from dcgan.errors import DataError
from dcgan.promotion import bundle, registry
from tests.promotion.conftest import add, stored
from tests.support import tiny_models

# Hostile folders. Each is tried on all three ways in: a local folder, registration, and a version
# whose stored files were changed.


def pickle_as_python_model(folder: Path, marker: Path) -> None:
    (folder / "python_model.pkl").write_bytes(tiny_models.marker_pickle(marker))
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n"
        "    python_model: python_model.pkl\n"
    )
    tiny_models.rewrite(folder, "README.md", b"#")


def pickle_under_an_allowed_name(folder: Path, marker: Path) -> None:
    (folder / "python_model.json").write_bytes(tiny_models.marker_pickle(marker))
    text = (folder / "MLmodel").read_text()
    tiny_models.rewrite(
        folder,
        "MLmodel",
        text.replace(
            "    streamable", "    python_model: python_model.json\n    streamable"
        ).encode(),
    )


def another_flavor(folder: Path, marker: Path) -> None:
    (folder / "model.json").write_bytes(tiny_models.marker_pickle(marker))
    text = (
        (folder / "MLmodel")
        .read_text()
        .replace("flavors:\n", "flavors:\n  sklearn:\n    pickled_model: model.json\n")
    )
    tiny_models.rewrite(folder, "MLmodel", text.encode())


def pickle_named_safetensors(folder: Path, marker: Path) -> None:
    tiny_models.rewrite(folder, bundle.GENERATOR, tiny_models.marker_pickle(marker))


def torch_pickle_named_safetensors(folder: Path, marker: Path) -> None:
    torch.save(tiny_models.Payload(marker), folder / bundle.DISCRIMINATOR)
    tiny_models.rewrite(folder, bundle.DISCRIMINATOR, (folder / bundle.DISCRIMINATOR).read_bytes())


def a_file_too_many(folder: Path, marker: Path) -> None:
    (folder / "code/dcgan/more.py").write_text(f"open({str(marker)!r}, 'w')\n")


def changed_code(folder: Path, marker: Path) -> None:
    with open(folder / "code/dcgan/__init__.py", "a") as file:
        file.write(f"open({str(marker)!r}, 'w')\n")


def a_flipped_bit(folder: Path, marker: Path) -> None:
    content = bytearray((folder / bundle.GENERATOR).read_bytes())
    content[len(content) // 2] ^= 16
    (folder / bundle.GENERATOR).write_bytes(content)


def a_missing_file(folder: Path, marker: Path) -> None:
    (folder / "pyfunc.py").unlink()


def a_way_out(folder: Path, marker: Path) -> None:
    files.write_json(
        folder / bundle.MANIFEST,
        {**files.read_json(folder / bundle.MANIFEST), "../../out.py": "0" * 64},
    )


def an_absolute_name(folder: Path, marker: Path) -> None:
    files.write_json(
        folder / bundle.MANIFEST,
        {**files.read_json(folder / bundle.MANIFEST), "/etc/out.py": "0" * 64},
    )


def no_list_of_hashes(folder: Path, marker: Path) -> None:
    (folder / bundle.MANIFEST).write_text('["generator"]')


def a_header_of_a_tebibyte(folder: Path, marker: Path) -> None:
    tiny_models.rewrite(folder, bundle.GENERATOR, (1 << 40).to_bytes(8, "little") + b"{}")


def huge_networks(folder: Path, marker: Path) -> None:
    path = (folder / bundle.GENERATOR).with_suffix(".json")
    description = json.loads(path.read_text())
    description["architecture"]["channels"] = [4096, 4096]
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(description).encode())


def no_architecture(folder: Path, marker: Path) -> None:
    path = (folder / bundle.DISCRIMINATOR).with_suffix(".json")
    description = {
        key: value for key, value in json.loads(path.read_text()).items() if key != "architecture"
    }
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(description).encode())


def another_architecture(folder: Path, marker: Path) -> None:
    path = (folder / bundle.GENERATOR).with_suffix(".json")
    description = json.loads(path.read_text())
    description["architecture"] |= {"kernel": "os.system"}
    tiny_models.rewrite(folder, str(path.relative_to(folder)), json.dumps(description).encode())


def values_that_are_not_finite(folder: Path, marker: Path) -> None:
    from safetensors.torch import load, save

    tensors = load((folder / bundle.GENERATOR).read_bytes())
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    tiny_models.rewrite(folder, bundle.GENERATOR, save(tensors))


HOSTILE = [
    pickle_as_python_model, pickle_under_an_allowed_name, another_flavor, pickle_named_safetensors,
    torch_pickle_named_safetensors, a_file_too_many, changed_code, a_flipped_bit, a_missing_file,
    a_way_out, an_absolute_name, no_list_of_hashes, a_header_of_a_tebibyte, huge_networks,
    no_architecture, another_architecture, values_that_are_not_finite,
]  # fmt: skip


@pytest.mark.holds("R-16")
@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
def test_a_hostile_folder_is_refused_everywhere(
    root: Path, made: Path, model: Path, harm: object
) -> None:
    marker = root / "marker"
    version = add(made / "first")
    for folder in (model, stored(root, version)):
        harm(folder, marker)
    for call in (
        lambda: registry.fetch(str(model), root / "local"),
        lambda: add(model, fingerprint="bb"),
        lambda: registry.fetch("models:/dcgan-toys/1", root / "stored"),
        lambda: add(made / "first"),
    ):
        with pytest.raises(DataError) as refused:
            call()
        assert "\n" not in str(refused.value)
    assert not marker.exists() and not (root / "local").exists() and not (root / "stored").exists()
    assert len(registry.all_versions("toys")) == 1


def test_the_payload_of_these_folders_would_have_made_its_file(tmp_path: Path) -> None:
    pickle.loads(tiny_models.marker_pickle(tmp_path / "marker"))
    assert (tmp_path / "marker").exists()


def test_a_link_in_a_folder_is_refused(root: Path, model: Path) -> None:
    (model / "code/dcgan/rng.py").unlink()
    (model / "code/dcgan/rng.py").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="link or no regular file"):
        registry.fetch(str(model), root / "fetched")


@pytest.mark.holds("R-17")
def test_the_description_of_a_network_that_is_too_large_costs_no_memory(
    root: Path, model: Path
) -> None:
    huge_networks(model, root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="does not fit its own description"):
        registry.fetch(str(model), root / "fetched")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
