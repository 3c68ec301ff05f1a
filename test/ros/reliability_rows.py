# SPDX-License-Identifier: Apache-2.0
"""The 44 failures of robots that this package survives, and what it does about each: the rows of docs/reliability.md.

Tests that show row N are named `test_row_NN_...`, of two rows `test_row_NN_and_MM_...`.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """One failure."""

    failure: str
    answer: str


ROWS = {
    1: Row("an image comes before its transform", "it waits its turn in a bounded queue; no pose is ever guessed"),
    2: Row("waiting for tf blocks everything else", "nobody waits: what is missing is looked for again later"),
    3: Row("static tf is lost where a bag starts late", "a bag is searched for static tf from its beginning first"),
    4: Row("time jumps back, a bag plays in a loop", "tf and queues start anew, keyframes stay, none comes twice"),
    5: Row("node and data disagree on the clock", "a warning says so and names the parameter"),
    6: Row("QoS of both sides does not fit: silence", "best effort by default; otherwise topic and policy are named"),
    7: Row("stamps of colour and depth differ", "the nearest within a tolerance is taken; the others are counted"),
    8: Row("stamps of zero, no frame_id", "counted with a hint; the camera's frame can be given"),
    9: Row("depth is NaN, infinite, zero or negative", "unknown; with too little known depth an image is dropped"),
    10: Row("depth in millimetres or in metres", "the encoding tells; implausible depth gives a warning"),
    11: Row("depth of another camera or size", "carried over by tf and both intrinsics; what is missing is named"),
    12: Row("colours come in many encodings", "all of them decode to the same picture; others are refused by name"),
    13: Row("padded rows, other byte order", "both are undone"),
    14: Row("compressed images, and depth as JPEG", "PNG, quantised and RVL depth decode; JPEG depth is refused"),
    15: Row("lens distortion, no calibration", "images are rectified by their model; K of zeros is refused"),
    16: Row("camera_info comes late or changes", "images wait for it; each size and stamp has its own intrinsics"),
    17: Row("DDS drops large messages", "our nodes exchange files; clouds are thinned; recordings are read directly"),
    18: Row("filling messages number by number is slow", "clouds are written as one block of memory"),
    19: Row("RViz freezes under too many points", "published clouds have a limit"),
    20: Row("the GPU runs out of memory", "once more at half the size, then the goal aborts; what was built stays"),
    21: Row("no GPU, a package or weights are missing", "the node starts and says which command helps"),
    22: Row("services block each other", "queries queue with a limit: an answer, or BUSY, in time"),
    23: Row("training starves the callbacks", "training is another process; images are received beside their decoding"),
    24: Row("CUDA and fork", "worker processes are spawned"),
    25: Row("an exception ends the executor", "callbacks are guarded: counted, one line of log, the node lives on"),
    26: Row("a crash loses the map", "keyframes and snapshots are on disk before they are announced"),
    27: Row("a map is half written", "snapshots appear whole or not at all; what is broken is refused"),
    28: Row("saving fails without a reason", "every refusal is a sentence"),
    29: Row("Ctrl-C loses work", "the last keyframes are stored and workers end within seconds"),
    30: Row("a loop closure moves poses", "keyframes move by stamp, and what was built from them with them"),
    31: Row("localisation jumps", "the image at the jump is left out and counted, with one warning"),
    32: Row("more keyframes than the limit", "the policy for overflow holds, with one warning"),
    33: Row("the robot stands still for hours", "without motion there is no keyframe, no disk, no memory used"),
    34: Row("memory grows", "queues and caches have limits; pixels lie on disk"),
    35: Row("several robots on one host", "names are relative, maps have one writer"),
    36: Row("cv_bridge and numpy do not fit", "cv_bridge only where its self-check passes; ours otherwise"),
    37: Row("the wrong Python", "executables say what is missing and how to install it"),
    38: Row("messages and modules in one package", "both are installed side by side, links or copies"),
    39: Row("cancelling is ignored", "every stage looks for it; what was built stays usable"),
    40: Row("prompts that are empty, huge or strange", "trimmed, limited, and answered or refused in a sentence"),
    41: Row("a query before or while a map appears", "NO_MAP, or exactly one version of the map"),
    42: Row("a recording without depth or colours", "maps are made from images alone"),
    43: Row("kinds of bags: sqlite3, mcap, split, compressed", "all are read, always with the same keyframes"),
    44: Row("a bag plays faster than images are processed", "the reader waits for the map: nothing is lost"),
}
