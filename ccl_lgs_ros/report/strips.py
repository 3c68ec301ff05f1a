# SPDX-License-Identifier: Apache-2.0
"""Tracks as strips of crops: one thing, as the keyframes saw it."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ccl_lgs_ros.level_names import coarsest
from ccl_lgs_ros.perception.colour_families import FAMILIES
from ccl_lgs_ros.pictures import Image, resized, with_mask
from ccl_lgs_ros.query.relevancy import relevancy_of_tracks
from ccl_lgs_ros.report.pictures_inside import Inside, inside
from ccl_lgs_ros.report.subject import Subject
from ccl_lgs_ros.report.things import Sighting, Thing, masks_of

CROPS = 8  # in a strip
CROP_WIDTH = 128  # pixels
AROUND = 1.3  # sides of a crop by the longer side of the thing
FADED, PALE = 0.6, 205  # share of a pale grey around the thing, and which
SMALLEST = 24  # pixels of the photo; a crop shows so much around a thing that is smaller
WELL_SEEN = 0.35  # of the pixels of its best view; views that show less of a thing come last
BUILTIN = "builtin/"  # begins the name of the language whose words are colours


def section(subject: Subject) -> dict[str, Any]:
    """A strip for each thing."""
    if not subject.num_shown:
        return {"missing": "The map holds no keyframes, so there are no photos to cut things out of."}
    if subject.seen is None:
        return {"missing": "The map has no tracks of whole things yet."}
    things = subject.seen.things
    if not things:
        return {"missing": "No track is seen by enough keyframes to be shown: map more images of the same place."}
    words = _words(subject, [thing.track for thing in things])
    crops = _crops(subject, things)
    strips = [_strip(subject, *row) for row in zip(things, words, crops, strict=True)]
    seen = subject.seen
    return {
        "strips": strips,
        "num_tracks": subject.map.levels[coarsest(subject.map.levels)].num_tracks,
        "num_background": seen.num_background,
        "num_looked": len(seen.places),
    }


def _strip(subject: Subject, thing: Thing, called: str, crops: list[tuple[int, Inside]]) -> dict[str, Any]:
    return {
        "id": thing.id,
        "colour": subject.colour_of(thing.id),
        "num_gaussians": thing.num_gaussians,
        "views": len(thing.sightings),
        "called": called,
        "crops": crops,
    }


def _crops(subject: Subject, things: Sequence[Thing]) -> list[list[tuple[int, Inside]]]:
    """The crops of each thing with the places of their keyframes, in the order of the drive; each is drawn once."""
    shown = [{sighting.place for sighting in _shown(thing.sightings)} for thing in things]
    places = sorted(set().union(*shown))
    crops: list[list[tuple[int, Inside]]] = [[] for _ in things]
    for done, place in enumerate(places, start=1):
        chosen = [number for number, own in enumerate(shown) if place in own]
        small, view = subject.view(place), subject.keyframes[place]
        tracks = [things[number].track for number in chosen]
        masks = masks_of(subject.map, tracks, subject.rasterizer, small.camera, small.world_from_camera)
        for number, mask in zip(chosen, np.moveaxis(masks, 2, 0), strict=True):
            if mask.any():
                crops[number].append((place, inside(crop(view.image, mask, subject.rgb_of(things[number].id)))))
        subject.progress("crop", done, len(places))
    return crops


def _shown(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Few of them, spread over the drive, in its order; those that show the thing well come before others."""
    best = max(sighting.pixels for sighting in sightings)
    well = [sighting for sighting in sightings if sighting.pixels >= WELL_SEEN * best]
    if len(well) < CROPS:
        well = sorted(sightings, key=lambda sighting: -sighting.pixels)[:CROPS]
        well.sort(key=lambda sighting: sighting.place)
    places = np.unique(np.linspace(0, len(well) - 1, min(CROPS, len(well))).round().astype(int))
    return [well[place] for place in places]


def crop(photo: Image, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> Image:
    """The square of a photo that shows what a mask [h, w] of any size marks, outlined; what is around it is faded."""
    height, width = photo.shape[:2]
    rows, columns = (np.percentile(places, (1, 99)) for places in np.nonzero(mask))
    (top, bottom), (left, right) = rows * height / mask.shape[0], columns * width / mask.shape[1]
    side = int(np.clip(AROUND * max(right - left, bottom - top), SMALLEST, min(width, height)))
    first_column = int(np.clip((left + right) / 2 - side / 2, 0, width - side))
    first_row = int(np.clip((top + bottom) / 2 - side / 2, 0, height - side))
    part = slice(first_row, first_row + side), slice(first_column, first_column + side)
    marked = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)[part]
    marked = cv2.resize(marked, (CROP_WIDTH, CROP_WIDTH), interpolation=cv2.INTER_LINEAR) > 0.5
    shown = resized(photo[part], CROP_WIDTH)
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[..., None]
    faded = ((1.0 - FADED) * grey + FADED * PALE).astype(np.uint8)
    return with_mask(np.where(marked[..., None], shown, faded), marked, colour, is_tinted=False)


def _words(subject: Subject, tracks: Sequence[int]) -> list[str]:
    """What the language calls each track best, of words that it is known to have; '' where none fits."""
    names = [*subject.prompts, *(FAMILIES if subject.map.encoder.startswith(BUILTIN) else ())]
    if not names:
        return [""] * len(tracks)
    level, encoder = subject.map.levels[coarsest(subject.map.levels)], subject.encoder
    understood = [encoder.understand(name) for name in names]
    relevancy = [relevancy_of_tracks(level, encoder.relevancy(level.codebook.entries, word)) for word in understood]
    of_track = np.stack([found.numpy(force=True) for found in relevancy], axis=1)[list(tracks)]
    best = of_track.argmax(axis=1)
    is_enough = of_track.max(axis=1) >= encoder.threshold
    return [names[word] if fits else "" for word, fits in zip(best.tolist(), is_enough.tolist(), strict=True)]
