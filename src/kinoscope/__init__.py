"""kinoscope tells what people do in video."""
