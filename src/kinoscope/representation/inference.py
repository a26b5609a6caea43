"""From whole videos to embeddings, as the evaluation sees them (CARL, section 11.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.representation.sampling import chunks, with_contexts

Embed = Callable[[Tensor], Tensor]


def embed_frames(
    embed: Callable[[np.ndarray, int], np.ndarray],
    length: int,
    frames_per_pass: int = 1000,
    contexts: int = 1,
    stride: int = 1,
) -> np.ndarray:
    """Embeddings (length, D) of a video, piece by piece; positions restart in each piece, as officially.

    embed: (frames to load (t * contexts), t) -> (t, D).
    """
    parts = []
    for piece in chunks(length, frames_per_pass):
        frames = with_contexts(np.arange(piece.start, piece.stop), length, contexts, stride)
        parts.append(embed(frames, piece.stop - piece.start))
    return np.concatenate(parts)


def embed_clips(
    model: nn.Module, clips: Sequence[np.ndarray], device: torch.device, frames_per_pass: int = 1000
) -> list[np.ndarray]:
    """Embeddings (T, D) float32 of each (T, C) clip, in evaluation mode, without projection."""
    was, found = model.training, []
    model.eval()
    with torch.no_grad():
        for clip in clips:
            whole = torch.from_numpy(np.ascontiguousarray(clip, np.float32)).to(device)

            def embed(frames: np.ndarray, _: int, whole: Tensor = whole) -> np.ndarray:
                out: Tensor = model(whole[torch.from_numpy(frames).to(device)][None])
                return out[0].float().cpu().numpy()

            found.append(embed_frames(embed, len(clip), frames_per_pass))
    model.train(was)
    return found
