"""BlazePose: 33 joints of the most prominent person, from the models that the package mediapipe brings.

Bazarevsky et al., "BlazePose: On-device real-time body pose tracking", 2020; the full model (extra `pose`, Apache 2.0).

Differences from mediapipe's own Python layer:
1. only its compiled part is loaded, from its file: the Python around it needs protobuf below 5, opencv, matplotlib
   and more, which others here need newer or not at all; landmarks are read from the bytes that it hands out;
2. frames carry their true times, so that the smoothing over time is right at any frame rate;
3. axes are turned to y up, and the body travels: see `Poses`.
A tracker keeps state from frame to frame: one for each video. It prints to standard error and must not be forked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from kinoscope.errors import KinoscopeError

_NAMES = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
)
JOINTS = tuple(_NAMES.split())
# The joint that each joint hangs from; -1: the root.
PARENTS = (
    *(-1, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0, 0, 0, 11, 12, 13, 14),
    *(15, 16, 15, 16, 15, 16, 11, 12, 23, 24, 25, 26, 27, 28, 29, 30),
)
GRAPH = "modules/pose_landmark/pose_landmark_cpu.binarypb"
STREAMS = ("pose_landmarks", "pose_world_landmarks")


@dataclass(frozen=True)
class Pose:
    """One person in one picture.

    metres: (33, 3) float32 around the middle of the hips; x to the right of the picture, y up, z towards the camera.
    pixels: (33, 2) float32; confidence: (33,) from 0 to 1 that a joint is in the picture and not hidden.
    """

    metres: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray


class Tracker:
    """Call it with the pictures of one video in order. Raises KinoscopeError where mediapipe is not installed."""

    def __init__(self) -> None:
        self._binding, package = _binding()
        packets = self._binding._packet_creator
        self._graph = self._binding.calculator_graph.CalculatorGraph(binary_graph_path=str(package / GRAPH))
        self._found: dict[str, Any] = {}
        for stream in STREAMS:
            self._graph.observe_output_stream(stream, self._found.__setitem__, True)
        switches = {"smooth_landmarks": True, "enable_segmentation": False, "smooth_segmentation": False}
        switches["use_prev_landmarks"] = True  # a video, not pictures of their own
        self._graph.start_run(
            {
                "model_complexity": packets.create_int(1),  # the one model in the package
                **{name: packets.create_bool(value) for name, value in switches.items()},
            }
        )
        self._time_us = -1

    def __call__(self, image: np.ndarray, time_s: float) -> Pose | None:
        """The person in a picture (H, W, 3) uint8 RGB, at an ascending time; None where nobody is found."""
        self._time_us = max(self._time_us + 1, round(time_s * 1e6))
        binding = self._binding
        picture = binding._packet_creator._create_image_frame_from_pixel_data(
            binding.image_frame.ImageFormat.SRGB, np.ascontiguousarray(image), False
        )
        self._found.clear()
        self._graph.add_packet_to_input_stream(
            "image", picture.at(binding.timestamp.Timestamp(self._time_us))
        )
        self._graph.wait_until_idle()
        rows = [self._landmarks(stream) for stream in STREAMS]
        if rows[0] is None or rows[1] is None:
            return None
        height, width = image.shape[:2]
        pixels = rows[0][:, :2] * np.array([width, height], np.float32)
        return Pose(rows[1][:, :3] * np.array([1, -1, -1], np.float32), pixels, rows[0][:, 3])

    def close(self) -> None:
        self._graph.close()

    def _landmarks(self, stream: str) -> np.ndarray | None:
        packet = self._found.get(stream)
        if packet is None or packet.is_empty():
            return None
        return read_landmarks(self._binding._packet_getter._get_serialized_proto(packet))


def read_landmarks(message: bytes) -> np.ndarray:
    """(33, 4) x, y, z, visibility of a serialised list of landmarks; fields that are left out are zero."""
    rows = [
        [values.get(field, 0.0) for field in (1, 2, 3, 4)]
        for values in map(dict, map(_floats, _lists(message)))
    ]
    table = np.array(rows, np.float32).reshape(-1, 4)
    if len(table) != len(JOINTS):
        raise KinoscopeError(
            f"{len(JOINTS)} landmarks were expected of mediapipe",
            value=len(table),
            remedy="install mediapipe 0.10.14",
        )
    return table


def _lists(message: bytes) -> Iterator[bytes]:
    """The messages in field 1."""
    at = 0
    while at < len(message):
        length = message[at + 1]  # a landmark has 25 bytes, so its length is one byte
        yield message[at + 2 : at + 2 + length]
        at += 2 + length


def _floats(message: bytes) -> Iterator[tuple[int, float]]:
    """(field, value) of a message of 32-bit floats."""
    for at in range(0, len(message), 5):
        yield message[at] >> 3, struct.unpack_from("<f", message, at + 1)[0]


def installed() -> bool:
    """Whether a mediapipe that brings the model is there."""
    spec = find_spec("mediapipe")
    places = (spec.submodule_search_locations or []) if spec else []
    return any((Path(place) / GRAPH).is_file() for place in places)


@cache
def _binding() -> tuple[Any, Path]:
    """The compiled part of mediapipe and the folder of the package."""
    spec = find_spec("mediapipe")
    places = (spec.submodule_search_locations or []) if spec else []
    for package in map(Path, places):
        library = next((package / "python").glob("_framework_bindings*.so"), None)
        if library is None or not (package / GRAPH).is_file():
            continue
        binding_spec = spec_from_file_location("_framework_bindings", library)
        assert binding_spec is not None
        assert binding_spec.loader is not None
        binding: Any = module_from_spec(binding_spec)
        binding_spec.loader.exec_module(binding)
        binding.resource_util.set_resource_dir(str(package.parent))
        return binding, package
    raise KinoscopeError(
        "poses need mediapipe 0.10.14, which brings the model",
        field="pose",
        value="mediapipe " + ("of another version" if places else "is not installed"),
        remedy="pip install --no-deps mediapipe==0.10.14 (Python up to 3.12)",
    )
