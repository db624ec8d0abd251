"""``blinknet verify``: runs the bundles of a run on their devices again and renews their certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cluster.certify import renewed
from cluster.device_result import DeviceResult
from cluster.embedded import embedded_fleet
from cluster.job import load_evaluation
from cluster.outputs import RunFolder, RunRecord, find, read_result, read_run, write_result
from cluster.settings import RunFile, cluster_settings, load_run_file
from cluster.settings_fields import EMBEDDED
from cluster.summary import certificate_table
from network.answers import count_right
from network.onnx_import import load
from network.samples import Samples
from runtime.bundle import Bundle, write_bundle
from tracker.address import Address
from tracker.device import DeviceKey
from tracker.failure import Failure
from workers.build import Executable
from workers.device import DeviceDriver, RunResult


def verify(run: Path, tracker: str | None, console: Console) -> int:
    """Print what the devices show now; 1 where bounds that held are violated, or a device does not answer.

    Raises errors of our packages for a folder that is no run, and for bundles that are damaged.
    """
    folder = find(run)
    record = read_run(folder)
    job = load_run_file(Path(record.run_file))
    network = load(job.network)
    samples = load_evaluation(job, network)
    results: list[DeviceResult] = []
    failures: list[Failure] = []
    with _tracker(record, folder, tracker) as address:
        for device in folder.devices():
            console.print(f"verifying {device} ...", markup=False)
            outcome = _verify_device(folder, device, job, samples, address)
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                results.append(outcome)
    console.print(certificate_table(results))
    for failure in failures:
        console.print(str(failure), markup=False)
    return int(bool(failures) or any(each.verdict == "violated" for each in results))


def _verify_device(
    folder: RunFolder, device: str, job: RunFile, samples: Samples, tracker: Address
) -> DeviceResult | Failure:
    """One device: bundle and exact bundle side by side; its files are written anew."""
    before = read_result(folder, device)
    driver = DeviceDriver(tracker, DeviceKey.parse(device))
    description = driver.describe()
    if isinstance(description, Failure):
        return description
    memory_bytes = before.limits.memory_bytes
    limit_bytes = None if memory_bytes is None else int(memory_bytes)
    outcome = run_bundle(folder, driver, samples, job.verify.runs, limit_bytes)
    if isinstance(outcome, Failure):
        return outcome
    right, count = count_right(outcome.answers, samples.right)
    # What was configured on an emulated device may be verified on a real one.
    certificate = replace(renewed(before, outcome, right / count, count), emulated=description.emulated)
    after = replace(before, certificate=certificate, limits=before.bounds.resolve(certificate.exact))
    return _rewrite(folder, Bundle.open(folder.bundle(device)), after)


def run_bundle(
    folder: RunFolder, driver: DeviceDriver, samples: Samples, runs: int, limit_bytes: int | None = None
) -> RunResult | Failure:
    """A device's bundle beside its exact one, in a session of its own; the samples are answered once."""
    device = str(driver.key)
    bundle, exact = (Bundle.open(each) for each in (folder.bundle(device), folder.exact_bundle(device)))
    outputs = [shape[1:] for shape in bundle.manifest.output_shapes.values()]
    return driver.run(_executable(bundle), _executable(exact), samples.inputs, outputs, runs, limit_bytes)


def _executable(bundle: Bundle) -> Executable:
    """A bundle as what can be run on a device over RPC."""
    names = (each.name for each in bundle.manifest.parameters)
    return Executable(bundle.library.read_bytes(), tuple(zip(names, bundle.parameters(), strict=True)), 0, 0)


def _rewrite(folder: RunFolder, bundle: Bundle, result: DeviceResult) -> DeviceResult:
    """The bundle and the configuration file with the certificate that is valid now, down to the last byte."""
    manifest = bundle.manifest
    written = write_bundle(
        bundle.folder,
        bundle.library,
        _executable(bundle).parameters,
        result.configuration,
        result.certificate,
        input_shape=manifest.input_shape,
        output_shape=manifest.output_shape,
        requires=manifest.requires,
    )
    final = replace(result, certificate=written.manifest.certificate)
    write_result(folder, final)
    return final


@contextmanager
def _tracker(record: RunRecord, folder: RunFolder, stated: str | None) -> Iterator[Address]:
    """Where the run's devices are: as stated, as in the run, or on this machine."""
    name = stated or record.tracker
    if name != EMBEDDED:
        yield Address.parse(name, cluster_settings().access)
        return
    classes = sorted({DeviceKey.parse(each).device_class for each in folder.devices()})
    with embedded_fleet(classes) as address:
        yield address
