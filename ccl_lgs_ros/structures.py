# SPDX-License-Identifier: Apache-2.0
"""The nouns that the stages pass to each other: frozen, slotted, their shapes checked when they are made.

Letters: N Gaussians, M segments of one image, T tracks, K codebook entries, D length of a language vector,
C feature channels, H W image rows and columns.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ccl_lgs_ros.languages import Language
from ccl_lgs_ros.level_names import FINE_FIRST
from ccl_lgs_ros.shapes import check_shapes

NONE = -1  # in any index tensor: belongs to nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gaussians:
    """The primitives of the map, parameters before activation."""

    means: Tensor  # [N, 3] metres, world
    quats: Tensor  # [N, 4] wxyz, any length > 0
    log_scales: Tensor  # [N, 3] log metres
    logit_opacities: Tensor  # [N]
    sh: Tensor  # [N, S, 3], S = (degree + 1)^2, 3DGS convention: colour = 0.5 + basis . sh

    def __post_init__(self) -> None:
        n = self.means.shape[0]
        check_shapes(
            means=(self.means, (n, 3)),
            quats=(self.quats, (n, 4)),
            log_scales=(self.log_scales, (n, 3)),
            logit_opacities=(self.logit_opacities, (n,)),
            sh=(self.sh, (n, None, 3)),
        )

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def scales(self) -> Tensor:  # [N, 3] metres
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:  # [N] in (0, 1)
        return self.logit_opacities.sigmoid()

    @property
    def sh_degree(self) -> int:
        return int(self.sh.shape[1] ** 0.5) - 1

    @staticmethod
    def empty(sh_degree: int = 0) -> "Gaussians":
        """No Gaussians at all."""
        shapes = {"means": (3,), "quats": (4,), "log_scales": (3,), "logit_opacities": ()}
        rows = {name: torch.zeros(0, *shape) for name, shape in shapes.items()}
        return Gaussians(**rows, sh=torch.zeros(0, (sh_degree + 1) ** 2, 3))

    def tensors(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def select(self, which: Tensor) -> "Gaussians":
        """The Gaussians at an index or boolean mask, in that order."""
        return Gaussians(**{name: tensor[which] for name, tensor in self.tensors().items()})

    def joined(self, other: "Gaussians") -> "Gaussians":
        """These Gaussians followed by others; the indices of these do not change."""
        theirs = other.tensors()
        return Gaussians(**{name: torch.cat([mine, theirs[name]]) for name, mine in self.tensors().items()})

    def to(self, device: torch.device | str) -> "Gaussians":
        """The same on another device."""
        return Gaussians(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def detached(self) -> "Gaussians":
        """The same without gradient history."""
        return Gaussians(**{name: tensor.detach() for name, tensor in self.tensors().items()})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """One view of the Gaussians. Colour and features are blended over black (not divided by alpha)."""

    color: Tensor  # [H, W, 3], 0 to 1 where fully covered
    depth: Tensor  # [H, W] metres along z: mean over the blend; 0 where alpha is 0
    alpha: Tensor  # [H, W] in [0, 1]
    features: Tensor  # [H, W, C], C may be 0
    is_visible: Tensor  # [N] bool: drawn at least into the image's tiles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """How much each Gaussian showed of each label in one image: one row per (Gaussian, label) pair, once.

    Rows are sorted by Gaussian, then label. A weight is the sum over the label's pixels of the Gaussian's
    rendering weight (its alpha times the transmittance in front of it).
    """

    gaussian: Tensor  # [E] int64
    label: Tensor  # [E] int64 >= 0
    weight: Tensor  # [E] float32 > 0
    visibility: Tensor  # [N] float32: the sum of rendering weights over all pixels, labelled or not

    def __post_init__(self) -> None:
        e, rows = self.gaussian.shape[0], {"gaussian": self.gaussian, "label": self.label, "weight": self.weight}
        check_shapes(visibility=(self.visibility, (None,)), **{name: (row, (e,)) for name, row in rows.items()})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskProposals:
    """Masks that a segmenter proposes for one image, overlapping and at three granularities."""

    masks: Tensor  # [M, H, W] bool
    predicted_iou: Tensor  # [M] the segmenter's own belief, 0 to 1
    stability: Tensor  # [M] 0 to 1
    granularity: Tensor  # [M] int64: 0 subpart, 1 part, 2 whole

    def __post_init__(self) -> None:
        m = self.masks.shape[0]
        check_shapes(
            masks=(self.masks, (m, None, None)),
            predicted_iou=(self.predicted_iou, (m,)),
            stability=(self.stability, (m,)),
            granularity=(self.granularity, (m,)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segments:
    """The masks kept of one keyframe at one level, non-overlapping, each with its language vector."""

    labels: Tensor  # [H, W] int32: the segment of each pixel, -1 none
    features: Tensor  # [M, D] unit rows
    quality: Tensor  # [M] in (0, 1]: predicted IoU times stability

    def __post_init__(self) -> None:
        m = self.features.shape[0]
        check_shapes(
            labels=(self.labels, (None, None)), features=(self.features, (m, None)), quality=(self.quality, (m,))
        )

    def __len__(self) -> int:
        return self.features.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """What is known of every thing seen so far at one level: one row per track."""

    features: Tensor  # [T, D] unit rows: the mean of the track's segments, or a more robust centre
    weight: Tensor  # [T] float32: rendering weight gathered
    num_segments: Tensor  # [T] int64: keyframes that saw it

    def __post_init__(self) -> None:
        t = self.features.shape[0]
        check_shapes(
            features=(self.features, (t, None)), weight=(self.weight, (t,)), num_segments=(self.num_segments, (t,))
        )

    def __len__(self) -> int:
        return self.features.shape[0]

    @staticmethod
    def empty(dim: int) -> "Tracks":
        """No tracks yet."""
        none = torch.zeros(0, dtype=torch.int64)
        return Tracks(features=torch.zeros(0, dim), weight=torch.zeros(0), num_segments=none)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VoteTable:
    """The working votes of one level: the heaviest tracks of each Gaussian, a bounded number of them.

    As Misra and Gries (1982) count: a track's true sum lies between its weight (0 if not in the row) and that plus
    `lost`, at most 1 / (S + 1) of all votes of the Gaussian until tracks are joined. A row takes 8 S + 8 bytes.
    """

    track: Tensor  # [N, S] int32, -1 empty, heaviest first
    weight: Tensor  # [N, S] float32, 0 where empty
    lost: Tensor  # [N] float32: by how much a weight may be too low at most
    visibility: Tensor  # [N] float32: rendering weight over all keyframes, labelled or not

    def __post_init__(self) -> None:
        n, s = self.track.shape
        check_shapes(track=(self.track, (n, s)), weight=(self.weight, (n, s)))
        check_shapes(lost=(self.lost, (n,)), visibility=(self.visibility, (n,)))

    @staticmethod
    def empty(num_gaussians: int, slots: int) -> "VoteTable":
        """Nobody has voted yet."""
        return VoteTable(
            track=torch.full((num_gaussians, slots), NONE, dtype=torch.int32),
            weight=torch.zeros(num_gaussians, slots),
            lost=torch.zeros(num_gaussians),
            visibility=torch.zeros(num_gaussians),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codebook:
    """The entries that language vectors are compressed to."""

    entries: Tensor  # [K, D] unit rows
    weight: Tensor  # [K] float32: how much each entry stands for; 0 is a dead entry

    def __post_init__(self) -> None:
        check_shapes(entries=(self.entries, (None, None)), weight=(self.weight, (self.entries.shape[0],)))

    def __len__(self) -> int:
        return self.entries.shape[0]

    @staticmethod
    def empty(dim: int) -> "Codebook":
        """A codebook without entries."""
        return Codebook(entries=torch.zeros(0, dim), weight=torch.zeros(0))

    def assign(self, features: Tensor) -> Tensor:
        """The entry [B] of highest cosine for features [B, D]; -1 for all if there are no entries."""
        if len(self) == 0:
            return torch.full((features.shape[0],), NONE, dtype=torch.int64)
        return (features @ self.entries.T).argmax(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticLevel:
    """The language of the map at one level: a track per Gaussian, an entry per track."""

    track_of_gaussian: Tensor  # [N] int32, -1 none
    confidence: Tensor  # [N] uint8: the winner's share of all votes, 255 is all
    entry_of_track: Tensor  # [T] int64
    codebook: Codebook
    id_of_track: Tensor | None = None  # [T] int64, -1 none: the same from snapshot to snapshot; None = not yet named
    language: Language | None = None  # of each Gaussian, where it says more than the entry of its track
    uncertainty: Tensor | None = None  # [N] uint8: how little its lifter trusts each answer, 255 is not at all

    def __post_init__(self) -> None:
        check_shapes(
            track_of_gaussian=(self.track_of_gaussian, (None,)),
            confidence=(self.confidence, (self.track_of_gaussian.shape[0],)),
            entry_of_track=(self.entry_of_track, (None,)),
            ids=(self.ids, (self.num_tracks,)),
        )

    @property
    def num_tracks(self) -> int:
        return self.entry_of_track.shape[0]

    @property
    def ids(self) -> Tensor:  # [T] int64
        """The id of each track; before it is named, and in maps of old, its number."""
        return torch.arange(self.num_tracks) if self.id_of_track is None else self.id_of_track

    def select(self, kept: Tensor) -> "SemanticLevel":
        """The same for the Gaussians at a boolean mask [N]; every track keeps its number."""
        track, confidence = self.track_of_gaussian[kept], self.confidence[kept]
        own = {"uncertainty": self.uncertainty[kept]} if self.uncertainty is not None else {}
        own |= {"language": self.language.select(kept)} if self.language is not None else {}
        return dataclasses.replace(self, track_of_gaussian=track, confidence=confidence, **own)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticField:
    """What a distillation learnt: features that, blended into a view, a small network decodes to codes or vectors."""

    features: Mapping[str, Tensor]  # level -> [N, C]; no level without a codebook
    decoders: Mapping[str, Mapping[str, Tensor]]  # level -> weights by name

    def to(self, device: torch.device | str) -> "SemanticField":
        """The same on another device."""
        decoders = {level: {k: v.to(device) for k, v in weights.items()} for level, weights in self.decoders.items()}
        return SemanticField(features={k: v.to(device) for k, v in self.features.items()}, decoders=decoders)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SemanticMap:
    """Gaussians that carry language: what a snapshot holds and a query reads.

    A Gaussian is named by (version, index).
    """

    gaussians: Gaussians
    levels: Mapping[str, SemanticLevel]  # by the names in level_names.py
    encoder: str  # identity of the language space, e.g. "builtin/1" or "open_clip/ViT-B-16/laion2b_s34b_b88k"
    field: SemanticField | None = None
    version: int = 0
    map_id: str = ""
    map_frame: str = "map"
    map_up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    info: Mapping[str, object] = dataclasses.field(default_factory=dict)  # JSON figures

    def __post_init__(self) -> None:
        if unknown := set(self.levels) - set(FINE_FIRST):
            raise ValueError(f"levels: expected names of {FINE_FIRST}, got {sorted(unknown)}")
        check_shapes(**{name: (level.confidence, (len(self.gaussians),)) for name, level in self.levels.items()})
