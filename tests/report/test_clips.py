"""The skeleton part of the report: every drawing is well-formed and holds what it was given."""

from xml.etree import ElementTree

from kinoscope.report import clips


def tree(text):
    return ElementTree.fromstring(f"<div>{text}</div>")


def of(kind, text):
    return tree(text).findall(f".//{{http://www.w3.org/2000/svg}}{kind}")


def test_a_skeleton_moves_and_absent_bodies_are_not_drawn():
    body = [[[0.0, 0.0, 0.0], [0.5, 1.0, 0.0]], [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]]
    absent = [[[0.0] * 3] * 2] * 2
    text = clips.moving([body, absent], [(1, 0)])
    (line,) = of("line", text)
    moves = {m.get("attributeName"): m.get("values").split(";") for m in line}
    assert set(moves) == {"x1", "y1", "x2", "y2"}
    assert float(moves["x1"][1]) > float(moves["x1"][0])
    assert moves["x2"][0] == moves["x2"][1]
    assert float(moves["y1"][0]) < float(moves["y2"][0])  # up is up


def test_clips_tell_classes_and_neighbours():
    shown = {
        "a<b": {"kind": "clip", "joints": [[[[0, 0, 0], [1, 1, 0]]]], "links": [(1, 0)]},
        "v": {"kind": "boxes"},
    }
    row = {"file": "f", "scores": {"wave": 0.25, "clap & jump": 0.75}}
    row["neighbours"] = [{"label": "wave", "name": "s1_3", "similarity": 0.5}]
    text = clips.clips(shown, {"clips": [row]})
    told = "".join(tree(text).itertext())
    assert "a<b" in told
    assert told.index("clap & jump (0.75)") < told.index("wave (0.25)")
    assert "wave: s1_3 (0.50)" in told
    assert clips.clips({}, {}) == ""


def test_confusion_map_and_bars():
    cells = of("rect", clips.confusion([[3, 1, 0], [0, 2, 0], [0, 0, 0]], ["a", "b", "never"]))
    assert [cell[0].text for cell in cells] == [
        "a taken for a: 3 of 4",
        "a taken for b: 1 of 4",
        "b taken for b: 2 of 2",
    ]
    points = {"x": [0, 1, 2], "y": [5, 5, 6], "label": [0, 1, 1], "name": ["u", "v", "w"]}
    assert [c[0].text for c in of("circle", clips.embedding_map(points, ["a", "b"]))] == [
        "a: u",
        "b: v",
        "b: w",
    ]
    assert clips.embedding_map({}, []) == ""
    assert len(of("rect", clips.accuracies({"a": 50.0, "b": 100.0}))) == 2
    assert clips.accuracies({}) == ""
    table = "".join(tree(clips.numbers({"top1": 90.0, "knn": 80.0, "labels_10": 70.0, "seed": 3})).itertext())
    assert "90.00 %" in table
    assert "labels 10" in table
    assert "seed" not in table
