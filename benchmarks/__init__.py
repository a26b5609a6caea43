"""Speed and memory, room by room: `python -m benchmarks.<room>` prints one JSON object."""
