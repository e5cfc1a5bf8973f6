import base64
import json
import re
from html.parser import HTMLParser

from bench.experiments import EXPERIMENTS
from bench.report import write_report
from bench.report.document import caveats, page
from bench.report.html import table_of
from bench.report.sections import SECTIONS


class Seen(HTMLParser):
    """What a browser would find: elements, their attributes, and whether all of them are closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_begins_with_the_verdicts_and_shows_each_experiment(results):
    seen = Seen(page(results))
    words = " ".join(seen.words)
    assert not seen.open
    assert words.index("What it must reach") < words.index(SECTIONS[0].title)
    assert [one.experiment for one in SECTIONS] == list(EXPERIMENTS)
    for section in SECTIONS:
        assert section.title in words
    assert "stageline ms" in words
    assert words.count("Not measured yet.") == len(EXPERIMENTS) - len(results["meta"]["experiments"])


def test_the_page_needs_nothing_from_outside(results):
    text = page(results)
    seen = Seen(text)
    sources = [value for _tag, attributes in seen.elements for key, value in attributes.items() if key == "src"]
    assert len(sources) == len(results["meta"]["experiments"])
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert {tag for tag, _ in seen.elements}.isdisjoint({"script", "link", "iframe", "object"})
    assert all(attributes.get("href", "#").startswith("#") for _tag, attributes in seen.elements)
    assert "url(" not in text
    assert "@import" not in text
    for source in sources:
        drawn = base64.b64decode(source.partition(",")[2]).decode()
        assert not re.search(r'href="(?!#|data:)', drawn)


def test_what_a_result_says_is_text_and_never_markup(results):
    nasty = '<script>alert("x")</script>$\\bad$'
    for part in ("seed_table", "limit", "policies", "peers"):
        for row in results[part]:
            row["model"] = nasty
    results["meta"]["machine"] = nasty
    results["meta"]["failures"]["bus"] = {"taken": "now", "reason": nasty}
    seen = Seen(page(results))
    assert "script" not in {tag for tag, _ in seen.elements}
    assert nasty in " ".join(seen.words)


def test_what_is_quick_old_or_wrong_is_told_before_the_verdicts(results):
    assert list(caveats(results)) == []
    results["meta"]["experiments"]["limit"] |= {"mode": "quick", "commit": "1111111111"}
    results["meta"]["failures"]["peers"] = {"taken": "today", "reason": "it ended"}
    results["seed_table"][0]["max_abs_error"] = 0.5
    told = " ".join(caveats(results))
    assert "no basis for a verdict: limit." in told
    assert "Failed when last measured: peers. Figures of an earlier run are shown and judged for peers." in told
    assert "not all figures are of the same commits" in told.lower()
    assert "seed_table: mobilenet_v2 Stageline (0.5)" in told
    words = " ".join(Seen(page(results)).words)
    assert words.index("no basis for a verdict") < words.index("PyTorch RPC, torch pipelining and Ray Serve")


def test_figures_that_are_no_numbers_spoil_neither_plots_nor_tables(results):
    for row in [*results["seed_table"], *results["limit"], *results["policies"], *results["peers"]]:
        row |= {"throughput_rps": float("nan"), "latency_ms": 10**400, "throughput_spread": ["a", None], "rounds": {}}
    assert not Seen(page(results)).open


def test_of_one_value_no_quartiles_are_shown():
    assert "<small>" not in table_of([{"rps": 5.0, "_spread": [5.0, 5.0], "rps_spread": [5.0, 5.0]}]).markup


def test_a_failed_experiment_is_told_with_its_reason(results):
    results["meta"]["experiments"] = {}
    results["meta"]["failures"]["bus"] = {"taken": "today", "reason": "MosquittoMissingError: no mosquitto here"}
    assert "It failed on today: MosquittoMissingError: no mosquitto here" in page(results)


def test_the_report_is_made_from_the_file_alone(results, tmp_path):
    results["meta"]["experiments"] = {"limit": results["meta"]["experiments"]["limit"]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    once = write_report(json.loads((tmp_path / "results.json").read_text()), tmp_path).read_text()
    assert once == write_report(results, tmp_path).read_text()


def test_quartiles_stand_behind_their_median(results):
    assert "8 <small>7.5-9</small>" in table_of(results["seed_table"]).markup
