"""The page in a real browser, from a file and without a network: it sorts, filters, hovers, changes theme."""

import re
import shutil
import time

import pytest

from lightning_gen.compare import read_runs
from lightning_gen.compare.comparison import compare_runs
from lightning_gen.compare.page import page

from .folders import config_of, make_run, read_config, three_models

pytestmark = pytest.mark.slow
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=found, args=QUIET) as launched,
    ):
        yield launched


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    make_run(root / "runs" / "<script>alert(1)<b>", {"fid/digits@2000": 50.0}, config_of("LSGAN"))
    three_models(root / "runs")
    path = root / "r.html"
    path.write_text(page(compare_runs(read_runs([str(root / "runs")], read_config))))
    return path


@pytest.fixture
def opened(browser, report):
    """The page, and what went wrong with it or was asked of a network, which must stay empty."""
    with browser.new_context(color_scheme="light", offline=True) as context:
        shown = context.new_page()
        said = listen(shown)
        shown.goto(report.as_uri())
        shown.wait_for_selector("#plot .scatterlayer .trace", state="attached")
        yield shown
        assert said == []


def listen(shown):
    said = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("dialog", lambda dialog: said.append("a name was run"))
    shown.on("request", lambda request: fetched(request.url, said))
    return said


def fetched(url, said):
    if not url.startswith(("file:", "data:", "blob:")):
        said.append(url)


def column(shown, table, k):
    return shown.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])",
        f"rows => rows.map(row => row.cells[{k}].innerText.split('\\n')[0])",
    )


def test_tables_are_sorted_up_and_down_by_their_numbers(opened):
    head = opened.locator("#table-scores thead button").nth(1)
    head.click()
    means = [float(re.match(r"[\d.]+", text)[0]) for text in column(opened, "table-scores", 1)]
    assert means == sorted(means) and len(means) == 4
    head.click()
    assert [float(re.match(r"[\d.]+", t)[0]) for t in column(opened, "table-scores", 1)] == means[
        ::-1
    ]
    assert (
        opened.locator("#table-scores thead th").nth(1).get_attribute("aria-sort") == "descending"
    )
    opened.locator("#table-scores thead button").nth(0).click()
    names = column(opened, "table-scores", 0)
    assert names == sorted(names)


def test_a_filter_leaves_what_it_names_also_in_curves_and_samples(opened):
    before = opened.locator("#plot .scatterlayer .trace").count()
    opened.fill("[data-filter=table-scores]", "resnet")
    assert len(column(opened, "table-scores", 0)) == 1
    assert 0 < opened.locator("#plot .scatterlayer .trace").count() < before
    assert opened.locator("#samples figure:visible").count() == 1
    opened.fill("[data-filter=table-runs]", "mlp seed-2")
    assert len(column(opened, "table-runs", 0)) == 1
    opened.fill("[data-filter=table-scores]", "")
    assert len(column(opened, "table-scores", 0)) == 4


def test_a_curve_has_a_label_under_the_mouse(opened):
    plot = opened.locator("#plot .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    opened.wait_for_selector(
        "#plot .hoverlayer .legend, #plot .hoverlayer .hovertext", state="attached"
    )
    label = opened.locator("#plot .hoverlayer").text_content()
    assert "DCGAN" in label and "±" in label


def test_the_axis_the_value_and_the_scale_can_be_chosen(opened):
    opened.click("[data-axis=seconds]")
    assert "training time" in opened.locator("#plot .xtitle").text_content()
    opened.select_option("#curve", "generator/loss")
    assert "generator/loss" in opened.locator("#plot .ytitle").text_content()
    opened.check("#log")
    assert opened.evaluate("document.getElementById('plot').layout.yaxis.type") == "log"


def test_the_theme_is_the_systems_until_the_button_is_pressed(opened):
    def colours():
        return opened.evaluate(
            "[getComputedStyle(document.body).backgroundColor, document.getElementById('plot').layout.font.color]"
        )

    light = colours()
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_selector("[data-theme=dark]")
    dark = colours()
    assert light[0] == "rgb(255, 255, 255)" and dark[0] != light[0] and dark[1] != light[1]
    opened.click("#theme")
    assert colours() == light
    opened.click("#theme")
    assert colours() == dark


def test_settings_show_what_differs_or_all(opened):
    few = opened.locator("#table-settings tbody tr").count()
    assert opened.locator("#table-settings td.differs").count() > 0
    opened.uncheck("#differing")
    assert opened.locator("#table-settings tbody tr").count() > few
    opened.fill("#setting", "width")
    assert opened.locator("#table-settings tbody tr").count() == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_its_window_and_can_be_read(browser, report, width, theme):
    with browser.new_context(
        color_scheme=theme, viewport={"width": width, "height": 900}
    ) as context:
        shown = context.new_page()
        shown.goto(report.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("body", ".soft", "td.best", ".tag", ".bar a", "td.none"):
            if shown.locator(selector).count():
                assert contrast(shown, selector) >= 4.5, selector


def contrast(shown, selector):
    """WCAG's ratio of a text to the page behind it."""
    ink, paper = shown.evaluate(
        "s => [getComputedStyle(document.querySelector(s)).color, getComputedStyle(document.body).backgroundColor]",
        selector,
    )
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    levels = [int(level) / 255 for level in re.findall(r"\d+", colour)[:3]]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_two_hundred_runs_open_at_once(browser, tmp_path):
    """200 runs of 40 models; measured against a page of the same library with a single run."""
    for k in range(200):
        config = config_of(lr=1e-5 * (k // 5 + 1), seed=k % 5)
        make_run(
            tmp_path / "many" / f"{k:03d}",
            {"fid/digits@2000": 10.0 + k % 7},
            config,
            steps=150,
            pictures=3,
        )
    make_run(tmp_path / "one", {"fid/digits@2000": 10.0})
    seconds = {}
    for name in ("one", "many"):
        path = tmp_path / f"{name}.html"
        began = time.perf_counter()
        path.write_text(page(compare_runs(read_runs([str(tmp_path / name)], read_config))))
        made = time.perf_counter() - began
        seconds[name] = min(opening(browser, path) for _ in range(3))
        print(
            f"{name}: {path.stat().st_size / 1e6:.1f} MB, made in {made:.1f} s, opened in {seconds[name]:.2f} s"
        )
    assert seconds["many"] < 6 * seconds["one"]


def opening(browser, path):
    with browser.new_context() as context:
        shown = context.new_page()
        began = time.perf_counter()
        shown.goto(path.as_uri())
        shown.wait_for_selector("#plot .scatterlayer .trace", state="attached")
        return time.perf_counter() - began
