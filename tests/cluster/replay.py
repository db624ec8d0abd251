"""What a run would hand over if it had a finished run's store and nothing else: no device, no Ray.

    python -m tests.cluster.replay RUN_FILE STORE OUT

A process of its own, so that the order of sets and dictionaries is another one with another hash seed.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cluster.choices import write_choices
from cluster.decision import Finished, decide
from cluster.job import load_inputs, load_material, plan
from cluster.outputs import prepare, write_result
from cluster.run import Execution
from cluster.settings import load_run_file
from cost_model.store import Store
from network.target import Target


def main(run_file: Path, store_path: Path, out: Path) -> None:
    job = load_run_file(run_file)
    material = load_material(job, load_inputs(job))
    targets = {name: Target("x86_64-linux-gnu", name, ()) for name in job.devices}
    plans = plan(material, targets)
    site = SimpleNamespace(job=job, material=material, targets=targets, plans=plans)
    goals = {name: each.goal for name, each in job.devices.items()}
    folder = prepare(out, job.name)
    with Store(store_path) as store:
        execution = Execution(cast("Any", site), run_file, folder, store, goals)
        for name, goal in goals.items():
            device = f"{name}.local"
            ledger, policy, spent = execution.ledger, execution._policy(), execution._rounds.spent(device)
            outcome = decide(plans[name].table, ledger.knowledge(device), goal, policy, spent)
            if not isinstance(outcome, Finished):
                raise SystemExit(f"the store of a finished run leads to {outcome}")
            write_result(folder, execution.result(device, outcome))
            write_choices(folder, execution.choices(device))


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:]))
