# SPDX-License-Identifier: Apache-2.0
"""Models with random weights that are small enough for tests, and the options that choose them."""

import json
import tempfile
from functools import partial
from pathlib import Path

import torch

SMALL_SAM, SMALL_CLIP = "small_for_tests", "small-clip-for-tests"
SAM2_SIZE = 64  # pixels
EVERYTHING = -1.0  # a limit that lets through what an untrained model proposes

SAM = {"segmenter_model": SMALL_SAM, "segmenter_checkpoint": "random"}
SAM2 = {"segmenter_model": "sam2.1_hiera_t", "segmenter_checkpoint": "random", "segmenter_image_size": SAM2_SIZE}
UNFILTERED = {"points_per_side": 4, "min_predicted_iou": EVERYTHING, "min_stability": EVERYTHING}
PROPAGATOR = {
    "propagator_model": "sam2.1_hiera_t",
    "propagator_checkpoint": "random",
    "propagator_image_size": SAM2_SIZE,
}
OPEN_CLIP = {"encoder_model": SMALL_CLIP, "encoder_checkpoint": "random"}


def small_sam(checkpoint: str | None = None):
    """SAM with two layers, which looks at 128 pixels."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    size, patch, channels = 128, 16, 32
    sam = Sam(
        image_encoder=ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=size,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=4,
            out_chans=channels,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(size // patch, size // patch),
            input_image_size=(size, size),
            mask_in_chans=4,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=1, embedding_dim=channels, mlp_dim=32, num_heads=2),
            transformer_dim=channels,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    assert checkpoint is None
    return sam


def register_small_sam() -> None:
    """Adds it to the package's registry, where any architecture is found by name."""
    from segment_anything import sam_model_registry

    sam_model_registry[SMALL_SAM] = small_sam


def register_small_clip() -> None:
    """Adds an OpenCLIP architecture of one layer to those that the package knows."""
    import open_clip

    layer = {"width": 32, "layers": 1}
    architecture = {
        "embed_dim": 24,
        "vision_cfg": {**layer, "image_size": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {**layer, "context_length": 77, "vocab_size": 49408, "heads": 2},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{SMALL_CLIP}.json")
        path.write_text(json.dumps(architecture))
        open_clip.add_model_config(path)
