# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs evaluate: a map scored against labels."""

import argparse
import json
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of, updated_query

SUMMARY = "score a map against labelled views, label images in a recording or a public data set"
DESCRIPTION = """\
Ask a map for everything that an evaluation set labels and report mIoU, accuracy, localisation, false alarms, view
consistency and 3D errors. SET holds transforms.json, labels/*.json (LERF-OVS layout) and, optionally, absent.txt and
objects.json. With --bag the labels are images in a recording, as simulators publish them.

protocols (--protocol, with --data for the data set as its authors publish it):
  fixed           ours, the default: one absolute threshold for every prompt, so that absent things can return nothing
  lerf-ovs        LangSplat 2D: masks cut relative to each relevancy image; IoU and localisation
  lerf-3d         OpenGaussian 3D: the selected Gaussians drawn alone; IoU, Acc@0.25, Acc@0.5
  3d-ovs          the class of every pixel of a closed list: IoU, accuracy; and a mask per class at a stable threshold
  scannet         OpenGaussian on ScanNet's vertices, 19, 15 or 10 classes: IoU and accuracy per class
  scannet-volume  Dr. Splat: the same over Gaussians, each weighing its volume times its opacity
MAP is the map of one scene, or a folder that holds a map per scene, named like the scenes: then both the mean over
scenes and the mean over all units are reported. Maps must be in the frame of the data set's cameras."""
EXAMPLES = """\
examples:
  ccl-lgs evaluate map room/eval
  ccl-lgs evaluate map room/eval --json
  ccl-lgs evaluate map room/eval --pictures scored                  what was found beside the truth, worst first
  ccl-lgs evaluate map --bag shelf --label-topic /ground_truth/segm --label 132="light blue box"
  ccl-lgs evaluate maps --protocol lerf-ovs --data lerf_ovs         maps/figurines, maps/ramen, ...
  ccl-lgs evaluate map --protocol lerf-3d --data lerf_ovs --scene ramen
  ccl-lgs evaluate map room/eval --protocol lerf-ovs                LangSplat's protocol on a set of our own
  ccl-lgs evaluate maps --protocol scannet --data scannet --classes 15
"""
PROTOCOLS = ("fixed", "lerf-ovs", "lerf-3d", "3d-ovs", "scannet", "scannet-volume")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory, or with --protocol a folder with one per scene")
    parser.add_argument("set", type=Path, nargs="?", help="the evaluation set")
    parser.add_argument("--bag", type=Path, help="score against label images in this recording instead")
    parser.add_argument("--label-topic", default="", metavar="TOPIC", help="the topic of the label images")
    parser.add_argument(
        "--label", action="append", default=[], metavar="VALUE=PROMPT", help="what a label value is called; repeat"
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, default="fixed", help="how to score; see above")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the public data set, unpacked")
    parser.add_argument("--scene", default="", metavar="NAME", help="the scene that MAP shows; else by its name")
    parser.add_argument(
        "--mask-threshold", type=float, default=0.4, help="lerf-ovs: of the stretched relevancy; 0.4 is LangSplat's"
    )
    parser.add_argument("--classes", type=int, choices=(19, 15, 10), default=19, help="scannet: how many classes")
    parser.add_argument("--aligned", action="store_true", help="scannet: maps are in the axis-aligned frame")
    parser.add_argument("--threshold", type=float, help="relevancy above which a thing is an answer (fixed, lerf-3d)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="fixed: draw answers beside the truth here")
    parser.add_argument("--json", action="store_true", help="print the scores for programs")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores."""
    _check_sources(arguments)
    with ProgressBars() as progress:
        scores = (_by_fixed_threshold if arguments.protocol == "fixed" else _by_peers)(arguments, progress)
    print(json.dumps(scores.to_json()) if arguments.json else scores)
    if arguments.pictures is not None and not arguments.json:
        print(f"pictures, worst first: {arguments.pictures / 'index.jpg'}")
    return 0


def _check_sources(arguments: argparse.Namespace) -> None:
    from ccl_lgs_ros.errors import ConfigError

    if arguments.protocol == "fixed":
        if arguments.data is not None:
            raise ConfigError(f"--data needs --protocol, one of {', '.join(PROTOCOLS[1:])}")
        if (arguments.set is None) == (arguments.bag is None):
            raise ConfigError("give either an evaluation set or --bag with --label-topic and --label")
    elif arguments.pictures is not None:
        raise ConfigError("--pictures shows what the fixed threshold finds; leave --protocol out")
    elif arguments.bag is not None or (arguments.set is None) == (arguments.data is None):
        raise ConfigError(f"--protocol {arguments.protocol} needs the folder of the data set: give it with --data DIR")


def _by_fixed_threshold(arguments: argparse.Namespace, progress: ProgressBars):
    from ccl_lgs_ros.scoring import evaluate_bag, evaluate_map
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load

    config = updated_query(config_of(arguments), threshold=arguments.threshold)
    semantic_map = load(MapDirectory.open(arguments.map))
    if arguments.bag is None:
        return evaluate_map(semantic_map, arguments.set, config, pictures=arguments.pictures, progress=progress)
    return evaluate_bag(
        semantic_map,
        arguments.bag,
        arguments.label_topic,
        _labels(arguments.label),
        config,
        pictures=arguments.pictures,
        progress=progress,
    )


def _by_peers(arguments: argparse.Namespace, progress: ProgressBars):
    from ccl_lgs_ros.peer_scoring import evaluate_peers

    return evaluate_peers(
        arguments.map,
        arguments.protocol,
        arguments.data or arguments.set,
        lambda path: config_of(arguments, path),
        scene=arguments.scene,
        threshold=arguments.threshold,
        mask_threshold=arguments.mask_threshold,
        num_classes=arguments.classes,
        is_aligned=arguments.aligned,
        progress=progress,
    )


def _labels(texts: list[str]) -> dict[int, str]:
    from ccl_lgs_ros.errors import ConfigError

    labels = {}
    for text in texts:
        value, separator, prompt = text.partition("=")
        if not separator or not value.strip().isdigit() or not prompt.strip():
            raise ConfigError(f"--label must look like 132=\"light blue box\"; got '{text}'")
        labels[int(value)] = prompt.strip().strip('"')
    if not labels:
        raise ConfigError('say what the label values are called, for instance --label 132="light blue box"')
    return labels
