"""The frame of the page: its style and its script, with `title`, `body` and `data` to fill in."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222;
  max-width: 960px; margin: 2em auto; padding: 0 1em; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2em; } h3 { font-size: 1em; margin: 1em 0 0; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2em 1em; border-bottom: 1px solid #eee; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: #444; }
.bar { fill: #3973ac; } circle { fill: #3973ac; } .axis { stroke: #999; fill: none; }
polyline { fill: none; stroke: #3973ac; stroke-width: 1.5; }
.prediction { opacity: .7; } .prediction.hidden { display: none; }
.spread { stroke: #222; stroke-width: 1; fill: none; }
.legend span { margin-right: 1em; white-space: nowrap; }
.legend i { display: inline-block; width: 1em; height: 1em; margin-right: .3em; vertical-align: -.15em; }
pre { overflow: auto; background: #f6f6f6; padding: 1em; }
</style></head><body><h1>$title</h1>
$body
<script type="application/json" id="data">$data</script>
<script>
const slider = document.getElementById("threshold");
if (slider) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const events = document.querySelectorAll(".prediction");
  const show = () => {
    const least = Number(slider.value);
    events.forEach(e => e.classList.toggle("hidden", least > 0 && Number(e.dataset.score) < least));
    const count = least > 0 ? data.scores.filter(s => s >= least).length : data.scores.length;
    document.getElementById("shown").textContent =
      least.toFixed(2) + " (" + count + " of " + data.scores.length + " predictions)";
  };
  slider.value = data.threshold;
  slider.addEventListener("input", show);
  show();
}
</script></body></html>
"""
