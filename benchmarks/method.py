# SPDX-License-Identifier: Apache-2.0
"""What each part of the method earns: python benchmarks/method.py DATA [--quick] [--workers 2] [--only TEXT].

Synthetic rooms, perceived with the errors of real models (docs/noise_model.md), are mapped in every way that
benchmarks/proof/conditions.py lists. Images are 160 x 120, for mapping, optimising and scoring. DATA is a folder with
`models`, the tables of CLIP's text vectors. Figures are taken in views from beside the path, at a threshold that the
other rooms choose; intervals are 95 %, by drawing rooms anew. Everything goes to benchmarks/results/method.json and the
table to benchmarks/results/method.md; --quick (one room, one seed, short) and --only go to other files.
"""

import argparse
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from proof.conditions import Condition, Plan, conditions

RESULTS = Path(__file__).parent / "results"
ROOMS = (201, 202, 203, 204, 205, 206)  # nothing may be tuned on them
QUICK_ROOMS = (200,)
QUICK = {"seeds": (0,), "keyframes": 16, "views": 3, "steps": 60, "codebook_steps": 30, "distill_steps": 20}
FACTS = ("minutes", "rooms", "seeds", "plan", "machine")  # of a run
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_room(number: int, seed: int, wanted: list[Condition], plan: Plan) -> list[dict]:
    """The trials of one room, in a process of its own with one thread."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    from proof.trial import try_room  # numpy, torch and numba read the threads when they are imported

    return try_room(number, seed, wanted, plan, lambda text: print(text, flush=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with models/, the text vectors")
    parser.add_argument("--quick", action="store_true", help="one room, one seed, short: does it run?")
    parser.add_argument("--again", action="store_true", help="sum up the trials of the last full run anew")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="conditions whose name or group holds one of these texts, by commas")
    parser.add_argument("--output", type=Path, default=None, help="folder of the results")
    arguments = parser.parse_args()
    plan = Plan(models=arguments.data / "models", **(QUICK if arguments.quick else {}))
    texts = arguments.only.split(",")
    wanted = [condition for condition in conditions() if any(text in condition.key for text in texts)]
    rooms = QUICK_ROOMS if arguments.quick else ROOMS
    os.environ.update(dict.fromkeys(THREADS, "1"))
    from proof.summary import summary, table

    folder = arguments.output or RESULTS
    stem = "method" if not (arguments.quick or arguments.only) else "method_partial"
    if arguments.again:
        kept = json.loads((folder / f"{stem}.json").read_text())
        trials, facts = kept["trials"], {name: kept[name] for name in FACTS}
    else:
        began = time.monotonic()
        trials = all_trials(rooms, wanted, plan, arguments.workers)
        facts = {
            "minutes": round((time.monotonic() - began) / 60, 1),
            "rooms": list(rooms),
            "seeds": list(plan.seeds),
            "plan": {key: str(value) for key, value in vars_of(plan).items() if key != "models"},
            "machine": f"{platform.machine()}, {arguments.workers} workers of one thread",
        }
    result = summary(trials, [condition.key for condition in wanted])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(as_json({**facts, **result}, trials))
    text = f"{table(result)}\n\n{facts['minutes']} minutes on {facts['machine']}"
    (folder / f"{stem}.md").write_text(text + "\n")
    print(text)


def all_trials(rooms: tuple[int, ...], wanted: list[Condition], plan: Plan, workers: int) -> list[dict]:
    """The trials of all rooms, in their order."""
    trials = []
    with ProcessPoolExecutor(min(workers, len(rooms)), mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(run_room, number, seed, wanted, plan) for number, seed in enumerate(rooms)]
        for run in as_completed(runs):
            trials += run.result()
    return sorted(trials, key=lambda trial: (trial["room"], trial["seed"]))


def as_json(result: dict, trials: list[dict]) -> str:
    """The result, a trial a line, with the digits that mean something."""
    rounded = json.loads(json.dumps(trials), parse_float=lambda digits: round(float(digits), 4))
    lines = ",\n".join(json.dumps(trial, separators=(",", ":")) for trial in rounded)
    return f'{json.dumps(result, indent=1)[:-2]},\n "trials": [\n{lines}\n]}}\n'


def vars_of(plan: Plan) -> dict[str, object]:
    """The fields of a plan."""
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


if __name__ == "__main__":
    main()
