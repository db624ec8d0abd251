"""The Ray side: plain functions and the device driver, as tasks and an actor."""

from __future__ import annotations

import ray

from workers.accuracy import evaluate_configuration, evaluate_layer, exact_answers, refit_configuration
from workers.build import assemble_executable, assemble_profile, build
from workers.device import DeviceDriver
from workers.fingerprint_kernels import build_fingerprint
from workers.gateway import Gateway
from workers.sources import fingerprint

build_library = ray.remote(num_cpus=1, max_retries=2)(build)
build_fingerprint_library = ray.remote(num_cpus=1, max_retries=2)(build_fingerprint)
assemble_configuration = ray.remote(num_cpus=1, max_retries=2)(assemble_executable)
assemble_clocked = ray.remote(num_cpus=1, max_retries=2)(assemble_profile)
evaluate_one_layer = ray.remote(num_cpus=1, max_retries=2)(evaluate_layer)
evaluate_jointly = ray.remote(num_cpus=1, max_retries=2)(evaluate_configuration)
refit_jointly = ray.remote(num_cpus=1, max_retries=2)(refit_configuration)
answer_exactly = ray.remote(num_cpus=1, max_retries=2)(exact_answers)
worker_fingerprint = ray.remote(num_cpus=0)(fingerprint)

# A device is driven by one process at a time; it waits most of the time and computes nothing itself.
DeviceActor = ray.remote(num_cpus=0, max_restarts=-1)(DeviceDriver)
GatewayActor = ray.remote(num_cpus=0, max_restarts=-1)(Gateway)
