import json
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

from cluster.settings import ClusterSettings, SettingsError, load_cluster_settings
from tracker.address import Address

RAY_CONFIG = Path(__file__).parents[2] / "ray_config.yaml"


def write(folder: Path, blinknet: str) -> Path:
    path = folder / "ray_config.yaml"
    path.write_text(f"cluster_name: farm\nmetadata:\n  blinknet: {blinknet}\n")
    return path


def test_our_file_is_a_valid_cluster_launcher_file():
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(yaml.safe_load(RAY_CONFIG.read_text()), json.loads(schema.read_text()))


def test_ray_accepts_its_provider():
    from ray.autoscaler._private.local.config import prepare_local

    prepared, _ = prepare_local(yaml.safe_load(RAY_CONFIG.read_text()))
    assert prepared["max_workers"] == len(prepared["provider"]["worker_ips"])


def test_our_file_states_every_setting_of_ours_and_leaves_the_store_beside_the_run():
    text = RAY_CONFIG.read_text()
    optional = {"store", "credential"}
    assert set(yaml.safe_load(text)["metadata"]["blinknet"]) == set(ClusterSettings.model_fields) - optional
    assert load_cluster_settings(RAY_CONFIG).store is None


def test_the_store_that_our_file_proposes_is_in_the_home_folder(tmp_path):
    shared = tmp_path / "shared.yaml"
    shared.write_text(RAY_CONFIG.read_text().replace("# store:", "store:"))
    assert load_cluster_settings(shared).store == Path.home() / "blinknet" / "measurements.sqlite"


def test_settings_are_read_and_paths_are_beside_the_file(tmp_path):
    settings = load_cluster_settings(
        write(tmp_path, "{tracker: farm:9190, store: a/b.sqlite, session_timeout_s: 5}")
    )
    assert settings.tracker == Address("farm", 9190)
    assert settings.store == tmp_path / "a" / "b.sqlite"
    assert (settings.build_cpus, settings.session_timeout_s) == (1, 5.0)


def test_a_cluster_file_without_ours_gives_the_defaults(tmp_path):
    path = tmp_path / "ray_config.yaml"
    path.write_text("cluster_name: farm\n")
    assert load_cluster_settings(path) == ClusterSettings()


def test_errors_are_named_as_in_a_run_file(tmp_path):
    with pytest.raises(SettingsError, match=r"ray_config.yaml:3: metadata.blinknet.stroe is no key.*'store'"):
        load_cluster_settings(write(tmp_path, "{stroe: a}"))


def test_a_file_that_is_no_cluster_file_is_told_so(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- a\n")
    with pytest.raises(SettingsError, match=r"is no Ray cluster file; see ray_config.yaml"):
        load_cluster_settings(path)
