# SPDX-License-Identifier: Apache-2.0
"""Compares all recipes on the same masks and features: python benchmarks/recipes.py DATA [--quick] [--rooms 301 302].

Synthetic rooms, perceived with the errors of real models (docs/noise_model.md, three seeds), and two recordings of
real cameras, perceived by the builtin parts. Images are mapped at a width of 160 pixels, few of them, and training is
cut to a few hundred steps, so that two cores manage it, in about an hour: what needs more is not seen here.
The Gaussians of a place are made once. Everything goes to benchmarks/results/recipes.json, after each place, and the
tables into docs/recipes.md; with --quick, or with some recipes or places alone, to recipes_partial.json alone. DATA
is a folder with `models`, tables of CLIP's text vectors, and `bags`.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOMS = ("301", "302", "303", "304")  # nothing may be tuned on them
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
BETWEEN = re.compile(r"(<!-- table: begin -->\n).*(<!-- table: end -->)", re.DOTALL)
QUICK = {"seeds": (0,), "keyframes": 12, "views": 3, "steps": 30, "train_steps": 20}


def try_place(name: str, wanted: Sequence[str], plan: object) -> list[dict]:
    """The trials of one place, in a process of its own with one thread; a recipe that fails is a trial that says so."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    import torch  # torch and numba read the threads when they are imported
    from compared.places import BAGS, Plan, bag_place, room_place
    from compared.trial import Trials

    torch.set_num_threads(1)
    assert isinstance(plan, Plan)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        place = bag_place(name, plan, Path(folder)) if name in BAGS else room_place(int(name), plan)
        print(f"{place.name}: {len(place.keyframes)} keyframes, {len(place.gaussians)} Gaussians", flush=True)
        for seed in place.perceptions:
            trials = Trials(place, seed, plan)
            for recipe in wanted:
                trial: dict = {"place": place.name, "seed": seed, "recipe": recipe}
                began = time.monotonic()
                try:
                    trial["figures"] = trials.of(recipe)
                except Exception as error:  # an hour of other recipes is not lost for one
                    trial["error"] = f"{type(error).__name__}: {error}"
                found.append(trial)
                said = trial.get("error") or f"{time.monotonic() - began:.0f} s"
                print(f"{place.name}, seed {seed}, {recipe or 'default'}: {said}", flush=True)
    return found


def main() -> None:
    from compared.places import BAGS, Plan
    from compared.summary import summary, tables
    from harness import machine

    from ccl_lgs_ros.recipes import ENTRIES

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with models/ and bags/")
    parser.add_argument("--quick", action="store_true", help="one room, one seed, short: does it run?")
    parser.add_argument("--recipes", nargs="+", default=["default", *ENTRIES], metavar="NAME")
    parser.add_argument("--rooms", nargs="*", default=None, metavar="NUMBER", help="rooms, or kitchen, or shelf")
    parser.add_argument("--go-on", action="store_true", help="keep the places that the results have")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    plan = Plan(data=arguments.data, **(QUICK if arguments.quick else {}))
    wanted = ["" if name == "default" else name for name in arguments.recipes]
    everywhere = ROOMS[:1] if arguments.quick else (*BAGS, *ROOMS)
    places = arguments.rooms if arguments.rooms is not None else everywhere
    is_whole = not arguments.quick and wanted == ["", *ENTRIES] and set(places) == {*BAGS, *ROOMS}
    path = arguments.output / f"recipes{'' if is_whole else '_partial'}.json"
    arguments.output.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(path.read_text()) if arguments.go_on and path.exists() else {"trials": [], "minutes": 0.0}
    trials = earlier["trials"]
    done = {trial["place"].removeprefix("room ") for trial in trials}
    began = time.monotonic()

    def write() -> None:
        facts = {
            "minutes": round(earlier["minutes"] + (time.monotonic() - began) / 60, 1),
            "plan": {key: value for key, value in asdict(plan).items() if key != "data"},
            "machine": machine(),
        }
        path.write_text(as_json({**facts, "summary": summary(trials)}, trials))

    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for run in as_completed([pool.submit(try_place, name, wanted, plan) for name in places if name not in done]):
            trials = sorted(trials + run.result(), key=lambda trial: (trial["place"], trial["seed"]))
            write()
    write()
    text = tables(summary(trials))
    print(text)
    if is_whole:
        PAGE.write_text(BETWEEN.sub(lambda found: f"{found[1]}{text}\n{found[2]}", PAGE.read_text()))


def as_json(result: dict, trials: list[dict]) -> str:
    """The result, a trial a line, with the digits that mean something."""
    rounded = json.loads(json.dumps([result, trials]), parse_float=lambda digits: round(float(digits), 4))
    lines = ",\n".join(json.dumps(trial, separators=(",", ":")) for trial in rounded[1])
    return f'{json.dumps(rounded[0], indent=1)[:-2]},\n "trials": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main()
