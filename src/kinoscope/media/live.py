"""Videos that are still being made: a growing file, a camera, a stream, or bytes from standard input.

Frames come as they arrive, on the same clock as those of a file: seconds from the first frame. Nothing is kept.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import av

from kinoscope.errors import KinoscopeError
from kinoscope.media.video_decoder import Decoder

POLL_S = 0.1  # how often a file is looked at for new bytes
STALL_S = 30.0  # a camera or a stream that is silent for so long has ended


class Growing:
    """The bytes of a file in order, waiting at its end until it grows; `idle_s` without growth is the end."""

    def __init__(self, path: Path, idle_s: float) -> None:
        self.file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed with the decoder
        self.idle_s = idle_s

    def read(self, size: int) -> bytes:
        waited = 0.0
        while not (data := self.file.read(size)):
            if waited >= self.idle_s:
                return b""
            time.sleep(POLL_S)
            waited += POLL_S
        return data

    def close(self) -> None:
        self.file.close()


class LiveDecoder(Decoder):
    """Frames of a source as they come; it can be neither sought nor rewound.

    source: a file, which is followed while it grows; a camera (`/dev/video0`, `camera:0`); an address with `://`; `-`
    for standard input. idle_s: a file that has not grown for so long is finished. Raises KinoscopeError where the
    source cannot be opened or is no video.
    """

    def __init__(self, source: str, idle_s: float = 5.0) -> None:
        self.source, self.idle_s = source, idle_s
        self._bytes: Any = None
        super().__init__(source)

    def _require(self) -> None:
        """A file may be waited for: it appears when its writer starts."""
        if self._is_file():
            deadline = time.monotonic() + self.idle_s
            while not (self.path.is_file() and self.path.stat().st_size):
                if time.monotonic() >= deadline:
                    raise KinoscopeError("there is no such video", file=self.source)
                time.sleep(POLL_S)

    def _is_file(self) -> bool:
        live = self.source == "-" or "://" in self.source or self.source.startswith(("camera:", "/dev/"))
        return not live

    def _open(self) -> Any:
        options: dict[str, Any] = {"metadata_errors": "replace"}
        place: Any = self.source
        if self._is_file():
            place = self._bytes = Growing(self.path, self.idle_s)
        elif self.source == "-":
            place = sys.stdin.buffer
        elif self.source.startswith(("camera:", "/dev/")):
            device = self.source.removeprefix("camera:")
            place = f"/dev/video{device}" if device.isdigit() else device
            options["format"] = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}[sys.platform]
            options["timeout"] = (STALL_S, STALL_S)
        else:
            options["timeout"] = (STALL_S, STALL_S)
        try:
            return av.open(place, **options)
        except (av.FFmpegError, ValueError, OSError) as error:
            raise KinoscopeError(
                "this source cannot be read while it is made",
                file=self.source,
                value=" ".join(str(error).split())[:160],
                remedy="record as mkv, ts, webm or fragmented mp4; a plain mp4 can be read only when it is finished: "
                "kinoscope predict",
            ) from error

    def _video_stream(self) -> Any:
        stream = super()._video_stream()
        stream.codec_context.thread_type = "SLICE"  # threads by frame would hold frames back
        return stream

    def key_frame_before(self, seconds: float) -> float | None:
        return None

    @property
    def index_is_whole(self) -> bool:
        return True  # so that nothing is sought

    def close(self) -> None:
        super().close()
        if self._bytes is not None:
            self._bytes.close()
