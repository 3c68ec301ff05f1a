# SPDX-License-Identifier: Apache-2.0
"""Image classifiers from files, TFLite or ONNX: square RGB crops in, probabilities of classes out.

What a file does not say of itself is taken from its family's custom. Integers get the pixels as they are (int8 less
128). Floats with channels last get [-1, 1], as TensorFlow's models do; floats with channels first get the mean and
spread of ImageNet taken out, as PyTorch's do.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ccl_lgs_ros.errors import ConfigError, MissingDependencyError

PACKAGES = {".tflite": ("ai_edge_litert", "ai-edge-litert"), ".onnx": ("onnxruntime", "onnxruntime")}
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
USUAL_SIZE = 224  # pixels, where a model takes any size
MOST_SUM = 1.1  # quantised probabilities add up to a little more or less than 1; logits do not stay within this


def runtime_lack(path: str) -> str:
    """Why a classifier file cannot be run here, in one sentence; empty where it can."""
    suffix = Path(path).suffix.lower()
    if suffix not in PACKAGES:
        return "perception.encoder_model names no .tflite or .onnx file"
    if not Path(path).expanduser().is_file():
        return f"perception.encoder_model: there is no file {path}"
    module, package = PACKAGES[suffix]
    if importlib.util.find_spec(module) is None:
        return f"{package} is not installed; run: pip install {package}"
    return ""


class Classifier:
    """A classifier that is ready to run.

    Args:
        path: a .tflite or .onnx file with one image input and class scores as first output.

    Raises:
        MissingDependencyError: if its runtime is not installed.
        ConfigError: if the file is missing, damaged or takes no RGB image.
    """

    def __init__(self, path: str) -> None:
        lack = runtime_lack(path)
        if lack:
            raise MissingDependencyError(lack) if "not installed" in lack else ConfigError(lack)
        file = Path(path).expanduser()
        try:
            self._model = (_TfliteModel if file.suffix.lower() == ".tflite" else _OnnxModel)(file)
        except Exception as error:  # each runtime raises its own kinds
            raise ConfigError(f"perception.encoder_model: {path} cannot be loaded, it is damaged or foreign") from error
        if 3 not in (self._model.shape[1], self._model.shape[-1]) or len(self._model.shape) != 4:
            raise ConfigError(f"perception.encoder_model: {path} takes {self._model.shape}, expected RGB images")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the images that it takes."""
        rows_columns = self._model.shape[1:3] if self._is_channels_last else self._model.shape[2:]
        height, width = (n if isinstance(n, int) and n > 0 else USUAL_SIZE for n in rows_columns)
        return height, width

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities [B, C] of the classes for images [B, H, W, 3] of the model's size."""
        return np.stack([as_probabilities(self._model.run(self._input(crop)[None])) for crop in crops])

    @property
    def _is_channels_last(self) -> bool:
        return self._model.shape[-1] == 3

    def _input(self, crop: NDArray[np.uint8]) -> NDArray:
        dtype = self._model.dtype
        if dtype == np.uint8:
            values = crop
        elif dtype == np.int8:
            values = (crop.astype(np.int16) - 128).astype(np.int8)
        elif self._is_channels_last:
            values = (crop / 127.5 - 1.0).astype(dtype)
        else:
            values = ((crop / 255.0 - IMAGENET_MEAN) / IMAGENET_SPREAD).astype(dtype)
        return values if self._is_channels_last else np.ascontiguousarray(values.transpose(2, 0, 1))


def as_probabilities(scores: NDArray) -> NDArray[np.float32]:
    """Scores [C] as they are where they are probabilities, their softmax where they are logits."""
    scores = scores.astype(np.float32).ravel()
    if scores.min() >= 0.0 and scores.max() <= 1.0 and scores.sum() <= MOST_SUM:
        return scores
    exponential = np.exp(scores - scores.max())
    return exponential / exponential.sum()


class _TfliteModel:
    """One image at a time through LiteRT; quantised scores come out as the numbers that they stand for."""

    def __init__(self, file: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(file), num_threads=torch.get_num_threads())
        self._interpreter.allocate_tensors()
        given, made = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._given, self._made = given["index"], made["index"]
        self.shape, self.dtype = tuple(int(n) for n in given["shape"]), np.dtype(given["dtype"])
        self._scale, self._zero = made["quantization"]

    def run(self, images: NDArray) -> NDArray:
        self._interpreter.set_tensor(self._given, images)
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._made)
        if np.issubdtype(scores.dtype, np.integer) and self._scale:
            return (scores.astype(np.float32) - self._zero) * self._scale
        return scores


class _OnnxModel:
    """One image at a time through ONNX Runtime, on the CPU."""

    def __init__(self, file: Path) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        self._session: Any = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        given = self._session.get_inputs()[0]
        self._name, self.shape = given.name, tuple(given.shape)
        kinds = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(float16)": np.float16}
        self.dtype = np.dtype(kinds.get(given.type, np.float32))

    def run(self, images: NDArray) -> NDArray:
        return self._session.run(None, {self._name: images})[0]
