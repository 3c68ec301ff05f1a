# SPDX-License-Identifier: Apache-2.0
"""The options of language on Gaussians: segments become tracks, features become codes, both are lifted."""

from dataclasses import dataclass

from ccl_lgs_ros.option_field import option


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationOptions:
    associator: str = option(
        "geometric",
        "Joins segments to tracks: geometric = by shared Gaussians and features; memory_bank = by shared Gaussians "
        "alone (Gaga); tracker = by a video model, in a refine.",
        choices=("geometric", "memory_bank", "tracker"),
    )
    min_overlap: float = option(0.25, "Share of a segment's votes that a track must hold to take it.", low=0, high=1)
    min_agreement: float = option(
        0.7, "Cosine of features under which segment and track are two things.", low=-1, high=1
    )
    min_votes: float = option(10.0, "Rendering weight under which a segment has no 3D support.", low=0)
    front_share: float = option(
        0.9,
        "Share of a segment's weight that its front Gaussians carry, the heaviest of them (memory_bank).",
        low=0.01,
        high=1,
    )
    second_vote: str = option(
        "none", "Another associator that may join tracks in a refine.", choices=("none", "tracker")
    )
    propagator: str = option("sam2", "Follows masks through a video, for the tracker.")
    propagator_model: str = option("", "Architecture: sam2.1_hiera_l, _b+, _s, _t; empty = the part's own.")
    propagator_checkpoint: str = option(
        "", "Path of its weights; empty = the cache, then the hub if download is set; random = untrained, for trials."
    )
    propagator_image_size: int = option(0, "Pixels at which it looks; 0 = the model's own.", low=0, high=4096)
    match_iou: float = option(0.5, "IoU with a propagated mask above which a segment joins its track.", low=0, high=1)
    reseed: bool = option(True, "Start tracks wherever none is; false = from the first keyframe only (CCL-LGS).")
    backward: bool = option(True, "Follow new tracks backward as well.")
    window: int = option(64, "Keyframes that the tracker holds at once; bounds memory.", low=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodebookOptions:
    fitter: str = option("contrastive", "Compresses language vectors to entries in a refine; online otherwise.")
    size: int = option(128, "Entries K for fitters that do not grow.", low=2, high=65536)
    merge_cosine: float = option(0.95, "Cosine above which the online fitter joins two vectors.", low=0, high=1)
    iterations: int = option(500, "Steps of the contrastive fitter.", low=0)
    learning_rate: float = option(1e-3, "Of the contrastive fitter.", low=0)
    batch: int = option(256, "Features in a step of the contrastive fitter.", low=2)
    pull_weight: float = option(0.25, "Weight of the loss that pulls a track's entries together.", low=0)
    push_weight: float = option(0.25, "Weight of the loss that pushes two tracks' entries apart.", low=0)
    margin: float = option(0.7, "Cosine under which two tracks' entries are far enough apart.", low=-1, high=1)
    vote_codes: bool = option(True, "One code per track, by the vote of its segments.")
    track_feature: str = option(
        "views",
        "What is fitted and coded of a track: every view (CCL-LGS), their mean, or their median without outliers.",
        choices=("views", "mean", "median"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOptions:
    lifter: str = option("registration", "Carries tracks onto Gaussians.")
    slots: int = option(6, "Tracks that a Gaussian's working votes hold.", low=2, high=64)
    min_confidence: float = option(0.5, "Share of votes under which a Gaussian has no track.", low=0, high=1)
    min_labelled: float = option(
        0.4, "Share of what was seen of a Gaussian that must carry votes, or it has no track.", low=0, high=1
    )
    min_visibility: float = option(
        0.0, "Rendering weight, in pixels, under which a Gaussian has no vote in a view; 0 = all vote.", low=0
    )
    top_contributors: int = option(
        45, "Gaussians that count in a pixel, the heaviest; 0 = all (top_contributors).", low=0, high=1000
    )
    product_codes: str = option(
        "",
        "File of centroids that language vectors are kept by; '' = fitted to the segments of the map "
        "(top_contributors).",
    )
    channels: int = option(8, "Feature channels per Gaussian and level (distillation).", low=1, high=64)
    iterations: int = option(2000, "Steps of the distillation.", low=0)
    learning_rate: float = option(1e-3, "Of the distilled features and their decoder.", low=0)
    batch_px: int = option(2048, "Pixels of a step that are decoded; bounds memory; 0 = all.", low=0)
    joint: bool = option(False, "Let the distillation train colour and geometry as well (CCL-LGS).")
    coarse_clusters: int = option(
        0, "Clusters of Gaussians by feature and place (instance_field); 0 = as many as the data ask for.", low=0
    )
    fine_clusters: int = option(
        0, "Clusters by feature inside each of those (instance_field); 0 = as many as the data ask for.", low=0
    )
    track_vote: bool = option(False, "Let tracks split and join the instances that clusters are (instance_field).")
    decode: str = option(
        "votes",
        "votes = the decoded views vote on the Gaussians; gaussians = decode each Gaussian by itself (a control).",
        choices=("votes", "gaussians"),
    )
    latent_iterations: int = option(
        2000, "Steps of the autoencoder that makes language vectors short (latent_distillation).", low=0
    )
    uncertainty_weight: float = option(
        1.0, "What uncertainty costs: the more, the less of it is learnt (smoothed_distillation).", low=0
    )
    smooth_weight: float = option(
        1.0, "Pull of uncertain Gaussians to what their place says; 0 = none (smoothed_distillation).", low=0
    )
    smooth_frequencies: int = option(
        0,
        "Octaves of waves that this reading of a place has; 0 = the place alone (smoothed_distillation).",
        low=0,
        high=16,
    )
    neighbours: int = option(
        5, "Neighbours in 3D whose track a Gaussian's is held to (identity_encoding).", low=1, high=64
    )
    neighbour_weight: float = option(2.0, "Weight of the loss that does so; 0 = none (identity_encoding).", low=0)
    neighbour_sample: int = option(1000, "Gaussians that it is taken over at a time (identity_encoding).", low=1)
    patience: int = option(0, "Checks without progress after which the distillation stops; 0 = never.", low=0)
    checkpoint_every: int = option(200, "Steps between checkpoints that a killed run goes on from; 0 = none.", low=0)
