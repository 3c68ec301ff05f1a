# SPDX-License-Identifier: Apache-2.0
"""Pictures of the recordings in DATA/bags, for people to look at: `make pictures DATA=../shared/data`.

    python scripts/make_real_pictures.py DATA -o artifacts/real [--maps DIR]

For each recording: answers to prompts, renderings beside photos, masks, tracks and codes, an answer in space, the plan.
Maps are made in the output folder, five minutes each, unless DIR/<name> holds them. The recordings are not ours: what
is made here stays out of the repository.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from make_gallery import PICTURES, ROOT, Gallery, answer, write_small

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.offline import map_recording

FOR_ALL = ("renderings", "stage_2_gaussians", "stage_3_masks", "stage_5_tracks", "stage_6_codes")
LARGEST = 600_000  # bytes of a picture


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording, how it is mapped, and what is asked of it."""

    bag: str
    prompts: tuple[str, ...]  # the first is what most pictures are of
    options: Mapping[str, object] = field(default_factory=dict)
    more: tuple[str, ...] = ()  # pictures beside FOR_ALL: of a shelf seen from in front there is no plan, nor a side


RECORDINGS = {
    "kitchen": Recording(
        bag="redkitchen_rgbd_60",
        prompts=(
            "purple book",
            "red cupboard",
            "the largest red cupboard",
            "purple book next to the white paper",
            "lime green sofa",
        ),
        options={
            "frames.map_up": (0.0, -0.891, -0.454),  # the normal of worktop and floor in the map
            "keyframes.min_translation": 0.03,
            "keyframes.min_rotation": 0.042,
        },
        more=("stage_8_answer", "floor_plan"),
    ),
    "shelf": Recording(
        bag="label_fusion_rgbd_15",
        prompts=("light blue box", "pink straws", "pink straws next to the light blue box", "dark green sofa"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "artifacts" / "real")
    parser.add_argument("--maps", type=Path, help="where the maps are; made in the output folder without it")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for each map")
    chosen = parser.parse_args()
    for name, recording in RECORDINGS.items():
        config = updated(MapConfig(), {**recording.options, "gaussians.budget": chosen.budget})
        path = (chosen.maps or chosen.output / "maps") / name
        if not path.exists():
            map_recording(chosen.data / "bags" / recording.bag, path, config)
        gallery = Gallery(path, config, thing=recording.prompts[0])
        gallery.map = replace(gallery.map, map_up=config.frames.map_up)  # a map that was made before may say otherwise
        write_pictures(gallery, recording, chosen.output / name)


def write_pictures(gallery: Gallery, recording: Recording, folder: Path) -> None:
    """All pictures of one recording."""
    folder.mkdir(parents=True, exist_ok=True)
    for prompt in recording.prompts:
        write_small(folder / f"{prompt.replace(' ', '_')}.jpg", answer(prompt)(gallery), LARGEST)
        print(folder.name, f'"{prompt}":', gallery.ask(prompt).message, flush=True)
    for name in (*FOR_ALL, *recording.more):
        write_small(folder / f"{name}.jpg", PICTURES[name](gallery), LARGEST)


if __name__ == "__main__":
    main()
