# SPDX-License-Identifier: Apache-2.0
"""Every option of the system, once: a frozen group per part of the method; each field carries its description,
range and choices, from which the ROS parameter descriptors and the help texts are made.
"""

import dataclasses
from dataclasses import dataclass

from ccl_lgs_ros.language_options import AssociationOptions, CodebookOptions, FieldOptions
from ccl_lgs_ros.level_names import WANTED
from ccl_lgs_ros.navigation_options import NavigationOptions
from ccl_lgs_ros.option_field import option


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameOptions:
    map_frame: str = option("map", "Frame that the map lives in; 'odom' where nothing publishes map.")
    map_up: tuple[float, float, float] = option((0.0, 0.0, 1.0), "Direction that is up in the map frame.")
    base_frame: str = option("base_link", "Frame of the robot's base, x forward, z up.")
    camera_frame: str = option("", "Optical frame of the camera, for drivers that leave frame_id empty or wrong.")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    use_depth: bool = option(True, "Use depth images where there are any.")
    pose_source: str = option("auto", "Where poses come from; auto prefers tf.", choices=("auto", "tf", "topic"))
    sync_slop: float = option(0.02, "Seconds that colour, depth and pose stamps may differ.", low=0, high=1)
    tf_timeout: float = option(1.0, "Seconds that an image waits for its transform.", low=0, high=30)
    tf_cache: float = option(30.0, "Seconds of tf that are kept.", low=1, high=3600)
    pending_queue: int = option(120, "Images that may wait for depth or transforms.", low=1, high=1000)
    depth_scale: float = option(0.0, "Metres per depth unit; 0 = by encoding (16UC1 mm, 32FC1 m).", low=0)
    cloud_topic: str = option(
        "", "PointCloud2 topic whose points are the depth of images that have no depth image; empty = none."
    )
    cloud_slop: float = option(
        0.1,
        "Seconds around an image whose clouds are its own; a cloud in the map frame holds until the next.",
        low=0,
        high=60,
    )
    corrected_frame: str = option(
        "",
        "Frame whose poses the topic corrected_path holds, such as base_link, if tf leads from it to the cameras; '' = "
        "the optical frame of the camera, or of the first of several.",
    )
    corrected_gap: float = option(
        2.0, "Seconds beyond the ends of corrected_path within which keyframes move with the ends.", low=0, high=3600
    )
    depth_min: float = option(0.1, "Metres; nearer depth is unknown.", low=0)
    depth_max: float = option(8.0, "Metres; farther depth is unknown.", low=0)
    depth_min_valid_ratio: float = option(
        0.05, "Share of known depth under which a depth image is dropped.", low=0, high=1
    )
    max_image_size: int = option(1280, "Pixels; longer images are scaled down.", low=16, high=8192)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyframeOptions:
    min_translation: float = option(0.10, "Metres of motion that make a new keyframe.", low=0)
    min_rotation: float = option(0.14, "Radians of rotation that make a new keyframe.", low=0, high=3.15)
    min_interval: float = option(0.0, "Seconds between keyframes at least.", low=0)
    max_interval: float = option(0.0, "Seconds after which a keyframe is taken without motion; 0 = never.", low=0)
    min_sharpness: float = option(
        0.5, "Share of the running median sharpness under which an image is too blurred; 0 = off.", low=0, high=1
    )
    max_speed: float = option(
        5.0,
        "Metres per second between two images above which localisation has jumped, and the later is left out; 0 = off.",
        low=0,
    )
    max_count: int = option(2000, "Keyframes kept; see overflow.", low=2)
    overflow: str = option(
        "thin",
        "At max_count: thin = keep every second of what comes, then every fourth...; stop = keep no more.",
        choices=("thin", "stop"),
    )
    jpeg_quality: int = option(95, "Quality of the stored colour images.", low=1, high=100)
    max_disk_gb: float = option(20.0, "Gigabytes that the keyframes may take on disk.", low=0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianOptions:
    seed_stride: int = option(3, "Every how many-th pixel of a depth image may seed a Gaussian.", low=1, high=64)
    seed_alpha: float = option(0.5, "A pixel seeds where the map's rendered alpha is below this.", low=0, high=1)
    max_gaussians: int = option(500_000, "Gaussians that the map may hold.", low=100)
    sh_degree: int = option(0, "Degree of the spherical harmonics of colour.", low=0, high=3)
    iterations: int = option(
        -1,
        "Steps of photometric optimisation in a refine; -1 = by the budget, else 16 per keyframe (400 to 3000).",
        low=-1,
    )
    budget: float = option(
        0.0, "Seconds that a refine spends on the Gaussians, carving and seeding included; 0 = none.", low=0
    )
    densifier: str = option(
        "none",
        "Adds and moves Gaussians in a refine: none, or with a large budget relocation or splitting; on a GPU also "
        "gsplat_default and gsplat_mcmc.",
    )
    exposure: str = option(
        "auto",
        "Compensate gain and offset of keyframes; auto = where their brightness differs by more than a fifth.",
        choices=("auto", "always", "never"),
    )
    image_width: int = option(320, "Pixels; width at which refine optimises.", low=16)
    holdout_every: int = option(8, "Every how many-th keyframe gives no colour and is scored; 0 = none.", low=0)
    depth: str = option(
        "auto",
        "measured; triangulated = from posed neighbours, whatever was measured; auto = those without depth so.",
        choices=("auto", "measured", "triangulated"),
    )
    depth_weight: float = option(0.1, "Weight of the depth loss.", low=0)
    ssim_weight: float = option(0.2, "Weight of the D-SSIM term of the colour loss.", low=0, high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingOptions:
    rasterizer: str = option("auto", "Draws the Gaussians; auto takes the best that works here.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceptionOptions:
    segmenter: str = option("auto", "Proposes masks; auto takes the best that works here.")
    segmenter_model: str = option(
        "", "Architecture: vit_h, vit_l, vit_b (sam), sam2.1_hiera_l, _b+, _s, _t (sam2); empty = the part's own."
    )
    segmenter_checkpoint: str = option(
        "", "Path of its weights; empty = the cache, then the hub if download is set; random = untrained, for trials."
    )
    segmenter_image_size: int = option(0, "Pixels at which sam2 looks; 0 = the model's own.", low=0, high=4096)
    points_per_side: int = option(32, "Point prompts along each side of the image (sam, sam2).", low=1, high=128)
    point_batch: int = option(64, "Point prompts that are decoded at once; bounds memory.", low=1, high=4096)
    min_predicted_iou: float = option(
        0.0, "Predicted IoU under which sam and sam2 propose nothing; 0 = the model's own.", high=1
    )
    min_stability: float = option(
        0.0, "Stability under which sam and sam2 propose nothing; 0 = the model's own.", high=1
    )
    encoder: str = option("auto", "Puts segments and texts into one language space; auto takes the best.")
    encoder_model: str = option("", "OpenCLIP architecture, or path of a classifier; empty = the part's own.")
    encoder_checkpoint: str = option(
        "", "OpenCLIP weights: tag or path; empty = the model's own tag; random = untrained, for trials."
    )
    encoder_batch: int = option(32, "Segments that are encoded at once; bounds memory.", low=1, high=4096)
    classifier_labels: str = option("", "Text file with a line per class of the classifier.")
    classifier_top: int = option(10, "Classes whose text vectors make a feature (classifier).", low=1)
    text_tables: str = option(
        "", "Text vectors of names (classifier): VECTORS.npy=NAMES, more after commas; names as txt, csv or json."
    )
    negatives: str = option("object,things,stuff,texture", "Generic texts that a prompt must beat, by commas.")
    templates: str = option("{}", "Sentences around a prompt whose vectors are averaged, separated by |.")
    relevancy: str = option(
        "pairwise",
        "pairwise = least of the softmaxes against each negative (LERF); joint = one softmax over all (CCL-LGS).",
        choices=("pairwise", "joint"),
    )
    sharpness: float = option(10.0, "Inverse temperature of the relevancy softmax.", low=0.01, high=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskOptions:
    min_area_px: int = option(150, "Pixels under which a mask is dropped.", low=1)
    min_quality: float = option(0.3, "Predicted IoU times stability under which a mask is dropped.", low=0, high=1)
    max_overlap: float = option(0.8, "IoU with a better mask above which a mask is redundant.", low=0, high=1)
    levels: str = option(
        "sp,wp",
        "Levels that a map has: sp,wp = subparts and parts, parts and wholes (CCL-LGS); s,m,l = subparts, parts, "
        "wholes (LangSplat); wp or l = one.",
        choices=("sp,wp", "s,m,l", "wp", "l"),
    )
    max_inner: float = option(
        1.0, "How much of a mask may lie inside another one (LangSplat's inner test, 0.5); 1 = all.", low=0, high=1
    )

    @property
    def level_names(self) -> tuple[str, ...]:
        """The levels that a map has."""
        return tuple(self.levels.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    threshold: float = option(
        0.0, "Relevancy above which a track answers a prompt; 0.5 = a tie, 0 = the encoder's own.", low=0, high=1
    )
    max_instances: int = option(10, "Instances in an answer.", low=1, high=1000)
    min_gaussians: int = option(15, "Gaussians under which a group is no instance.", low=1)
    connect_distance: float = option(0.0, "Metres that join Gaussians to one instance; 0 = from the map.", low=0)
    level: str = option(
        "auto",
        "Mask level: auto = best evidence; whole and part = the coarsest and the finest of the map.",
        choices=WANTED,
    )
    grammar: bool = option(True, "Read relations, choices and parts in a prompt; off = every prompt is one name.")
    view: str = option(
        "votes",
        "What answers are seen by in images: votes = the Gaussians of the instances; field = the distilled field.",
        choices=("votes", "field"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapConfig:
    """Everything that decides how a map is made and asked."""

    seed: int = option(0, "Seed of every random choice.", low=0)
    device: str = option("auto", "Where tensors live: auto, cpu, cuda, cuda:1 ...")
    download: bool = option(False, "Allow model weights to be fetched from their hub.")
    recipe: str = option("", "Named choice of parts that the other options begin from; `ccl-lgs recipes` lists them.")
    frames: FrameOptions = dataclasses.field(default_factory=FrameOptions)
    ingest: IngestOptions = dataclasses.field(default_factory=IngestOptions)
    keyframes: KeyframeOptions = dataclasses.field(default_factory=KeyframeOptions)
    gaussians: GaussianOptions = dataclasses.field(default_factory=GaussianOptions)
    rendering: RenderingOptions = dataclasses.field(default_factory=RenderingOptions)
    perception: PerceptionOptions = dataclasses.field(default_factory=PerceptionOptions)
    masks: MaskOptions = dataclasses.field(default_factory=MaskOptions)
    association: AssociationOptions = dataclasses.field(default_factory=AssociationOptions)
    codebook: CodebookOptions = dataclasses.field(default_factory=CodebookOptions)
    field: FieldOptions = dataclasses.field(default_factory=FieldOptions)
    query: QueryOptions = dataclasses.field(default_factory=QueryOptions)
    navigation: NavigationOptions = dataclasses.field(default_factory=NavigationOptions)
