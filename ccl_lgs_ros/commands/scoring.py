# SPDX-License-Identifier: Apache-2.0
"""ccl-lgs evaluate: a map scored against labels."""

import argparse
import json
from pathlib import Path

from ccl_lgs_ros.commands.shared_arguments import ProgressBars, add_config_arguments, config_of, updated_query

SUMMARY = "score a map against labelled views or against label images in a recording"
DESCRIPTION = """\
Ask a map for everything that an evaluation set labels and report mIoU, accuracy, localisation, false alarms, view
consistency and 3D errors. SET holds transforms.json, labels/*.json (LERF-OVS layout) and, optionally, absent.txt and
objects.json. With --bag the labels are images in a recording, as simulators publish them."""
EXAMPLES = """\
examples:
  ccl-lgs evaluate map room/eval
  ccl-lgs evaluate map room/eval --json
  ccl-lgs evaluate map --bag shelf --label-topic /ground_truth/segm --label 132="light blue box"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("map", type=Path, help="the map directory")
    parser.add_argument("set", type=Path, nargs="?", help="the evaluation set")
    parser.add_argument("--bag", type=Path, help="score against label images in this recording instead")
    parser.add_argument("--label-topic", default="", metavar="TOPIC", help="the topic of the label images")
    parser.add_argument(
        "--label", action="append", default=[], metavar="VALUE=PROMPT", help="what a label value is called; repeat"
    )
    parser.add_argument("--threshold", type=float, help="relevancy above which a thing is an answer")
    parser.add_argument("--json", action="store_true", help="print the scores for programs")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores."""
    from ccl_lgs_ros.errors import ConfigError
    from ccl_lgs_ros.scoring import evaluate_bag, evaluate_map
    from ccl_lgs_ros.storage.map_directory import MapDirectory
    from ccl_lgs_ros.storage.snapshot import load

    if (arguments.set is None) == (arguments.bag is None):
        raise ConfigError("give either an evaluation set or --bag with --label-topic and --label")
    config = updated_query(config_of(arguments), threshold=arguments.threshold)
    semantic_map = load(MapDirectory.open(arguments.map))
    with ProgressBars() as progress:
        if arguments.bag is None:
            scores = evaluate_map(semantic_map, arguments.set, config, progress=progress)
        else:
            labels = _labels(arguments.label)
            scores = evaluate_bag(semantic_map, arguments.bag, arguments.label_topic, labels, config, progress=progress)
    print(json.dumps(scores.to_json()) if arguments.json else scores)
    return 0


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
