import json
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import ALIGNMENT, LIBRARY, MANIFEST, PARAMETERS, Bundle
from runtime.errors import BundleError


@pytest.fixture
def bundle(write, tmp_path) -> Bundle:
    return write(tmp_path / "bundle")


def test_what_was_written_is_read_back(bundle, configuration, certificate, parameters):
    opened = Bundle.open(bundle.folder)
    assert opened == bundle
    assert opened.manifest.configuration == configuration
    assert opened.manifest.requires == ("sse4_2",)
    for parameter, array in zip(opened.parameters(), parameters, strict=True):
        np.testing.assert_array_equal(parameter, array)


def test_parameters_are_aligned_and_mapped(bundle):
    assert all(each.offset % ALIGNMENT == 0 for each in bundle.manifest.parameters)
    assert all(isinstance(each, np.memmap) for each in bundle.parameters())


def test_storage_is_what_lies_on_disk_and_the_certificate_says_so(bundle):
    on_disk = sum(each.stat().st_size for each in bundle.folder.iterdir())
    assert bundle.storage_bytes == on_disk
    assert bundle.manifest.certificate.storage_bytes == on_disk


def test_a_bundle_may_be_without_certificate_and_parameters_stay_mapped_when_it_is_replaced(
    write, bundle, parameters
):
    mapped = bundle.parameters()[0]
    again = write(bundle.folder, certificate=None)
    assert Bundle.open(bundle.folder).manifest.certificate is None
    assert again.storage_bytes < bundle.storage_bytes
    np.testing.assert_array_equal(mapped, parameters[0])
    assert [each.name for each in bundle.folder.parent.iterdir()] == ["bundle"]


def test_a_folder_with_something_else_is_not_replaced(write, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="holds something that is no bundle"):
        write(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(write, bundle, monkeypatch):
    def no_space(_: Path, __: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(BundleError, match="No space left on device; make room"):
        write(bundle.folder, certificate=None)
    assert Bundle.open(bundle.folder) == bundle
    assert [each.name for each in bundle.folder.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", [LIBRARY, PARAMETERS, MANIFEST])
def test_a_flipped_bit_is_found(bundle, name):
    path = bundle.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}.*(damaged|JSON|checksum)"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("name", "message"), [(LIBRARY, "incomplete"), (PARAMETERS, "incomplete"), (MANIFEST, "is no bundle")]
)
def test_a_missing_file_is_found(bundle, name, message):
    (bundle.folder / name).unlink()
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


def test_a_truncated_file_is_found(bundle):
    path = bundle.folder / PARAMETERS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"has \d+ bytes, not \d+; it is damaged"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize(
    ("content", "message"), [({"format": "onnx"}, "no manifest of a bundle"), ([], "no manifest of a bundle")]
)
def test_a_foreign_manifest_is_refused(bundle, content, message):
    (bundle.folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.folder)


def test_another_version_is_refused_before_its_content_is_read(bundle):
    (bundle.folder / MANIFEST).write_text(json.dumps({"format": "blinknet-bundle", "version": 99}))
    with pytest.raises(BundleError, match="version 99 of the bundle format, this runtime reads 1; install"):
        Bundle.open(bundle.folder)


def test_no_folder_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        Bundle.open(tmp_path / "nowhere")
