"""The explorer's page in a browser: its numbers are Python's, every control answers, nothing leaks.

Chromium or Chrome and its chromedriver are needed; without them these tests are skipped, in CI they
fail.
"""

import base64
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from explored import (
    HOSTILE,
    K,
    V,
    certain_model,
    corpus,
    counts_model,
    model_of,
    personal_model,
    personal_source_model,
    source_model,
    topic_model,
    word_model,
    word_source_model,
)
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

import lla
from lla.lstm import NetworkConfig
from lla.peers.simulate import random_network, random_phi
from lla.topics.explorer.rule import Rule
from lla.topics.explorer.sources import page_sources
from lla.topics.explorer.weights import SparsePhi, count_weights_of, sparse_phi, weights_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WORDS = [3, 17, 17, 0, 9, 17, 17, 28, 12]
MODELS = (
    *(topic_model, word_model, certain_model, personal_model, counts_model),
    *(source_model, word_source_model, personal_source_model),
)


def start_browser():
    """A browser without a window; whatever is missing, an exception says so."""
    driver = shutil.which("chromedriver", path=os.environ.get("CHROMEWEBDRIVER"))
    driver = driver or shutil.which("chromedriver")
    if driver is None:
        raise FileNotFoundError(
            "no chromedriver is installed (Debian: apt install chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)), "")
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


@pytest.fixture(scope="module")
def browser():
    try:
        driver = start_browser()
    except (FileNotFoundError, WebDriverException) as error:
        reason = f"no browser: {str(error).splitlines()[0]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of a model at 1280 × 900; at the end, nothing must have been asked or said."""

    def open_page(model, of, path=tmp_path / "page.html", width=1280, **options):
        made = lla.explore(model, of, path, **options)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(path.as_uri())
        return made

    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield open_page
    assert browser.get_log("browser") == []
    assert {url.partition(":")[0] for url in requests(browser)} <= {"file", "data", "about"}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def requests(browser):
    """Addresses of all requests since the log was read last."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def find(browser, name):
    return browser.find_element(By.ID, name)


def texts(browser, selector):
    """What the elements show; one call for all of them, for each takes its time."""
    code = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())"
    return browser.execute_script(code, selector)


def attributes(browser, selector, name):
    code = """return [...document.querySelectorAll(arguments[0])].map(
        (e) => e.getAttribute(arguments[1]))"""
    return browser.execute_script(code, selector, name)


def percentage(text):
    return float(text.removesuffix("%").removeprefix("<")) / 100


def bars(browser, name):
    """Names of a bar chart's rows and their values."""
    values = [percentage(text) for text in texts(browser, f"#{name} .value")]
    return texts(browser, f"#{name} button"), values


def first_topics(browser, name):
    """The likeliest topic of each row of a table of steps, and its probability."""
    rows = texts(browser, f"#{name} tr li:first-child")
    return [(int(row.split()[0]), percentage(row.split()[-1])) for row in rows]


def numbers(browser, words, steps=5):
    """What the page calculates for the words."""
    code = """
    const [words, steps] = arguments;
    const reading = readWords(model, words);
    const { states, thetas, gates, posteriors, origins } = reading;
    const ahead = topicsAhead(model, states[words.length], steps);
    const after = aheadOfTopic(model, 1, steps);
    const lists = (rows) => rows.map((row) => Array.from(row));
    return { theta: lists(thetas), posterior: lists(posteriors), ahead: lists(ahead),
             gate: lists(gates), origin: lists(origins), after: lists(after),
             words: Array.from(wordsAfter(model, reading, words.length)) };
    """
    found = browser.execute_script(code, words, steps)
    return {name: np.array(value, np.float64) for name, value in found.items()}


def python_numbers(model, words, sparse=None, steps=5):
    """The same by `rule.py`; with all of φ, or with `sparse`."""
    phi = model.emission.phi.numpy()
    sparse = sparse or sparse_phi(phi, phi.size, 1)
    of_topics = getattr(model.emission, "topics", model.emission)
    tau = of_topics.tau.numpy() if model.emission_kind == "personal" else None
    counted = getattr(model.emission, "sources", None)
    sources = None if counted is None else page_sources(counted, np.arange(len(phi)), 10**6)
    counts = count_weights_of(model.network)
    rule = Rule(weights_of(model.network, phi), sparse, tau, sources, counts)
    reading = rule.read(np.array(words, np.int64)[:, None])
    return {
        "theta": reading.theta[:, 0],
        "posterior": reading.posterior[:, 0],
        "gate": reading.gate[:, 0],
        "origin": reading.origin[:, 0],
        "ahead": rule.ahead(reading.state, steps)[:, 0],
        "after": rule.after_topics(steps)[:, 1],
        "words": rule.next_words(reading),
    }


@pytest.mark.parametrize("make", MODELS)
def test_the_page_calculates_what_python_does(browser, opened, make):
    model = make()
    n_words = model.n_words
    opened(model, corpus(vocabulary=list(model.vocabulary)))
    words = [w % n_words for w in WORDS]
    found, expected = numbers(browser, words), python_numbers(model, words)
    assert np.ptp(expected["theta"], axis=0).max() > 0.05, "what is read must matter"
    for name, value in expected.items():
        assert found[name].shape == value.shape
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)
    if make in (word_model, word_source_model):  # exact but for rounding to 16 bits
        session = model.session([model.vocabulary[w] for w in words])
        exact = session.topics_ahead(1, n_futures=1)[0]
        next_topics = found["gate"][-1, 0] * found["theta"][-1]
        np.testing.assert_allclose(next_topics, exact[:K], atol=1e-2)
        np.testing.assert_allclose(found["words"], session.probabilities(), atol=1e-2)


def test_it_does_so_with_few_entries_of_phi(browser, opened):
    n_topics, n_words = 40, 600
    of = corpus(vocabulary=[f"item {w}" for w in range(n_words)])
    network = random_network(NetworkConfig(n_topics, n_topics, 6, 8), seed=3, gain=8.0)
    model = model_of(network, random_phi(n_words, n_topics, 1.0, seed=4), of.vocabulary)
    opened(model, of, max_bytes=120_000)
    sparse = stored_phi(browser)
    assert len(sparse.values) < n_words * n_topics
    assert n_words * np.mean(sparse.rest) > 0.05, "the words without an entry must matter"
    words = [w * 31 % n_words for w in WORDS]
    found, expected = numbers(browser, words), python_numbers(model, words, sparse)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
    assert found["words"].sum() == pytest.approx(1, abs=1e-3)
    phi = model.emission.phi.double().numpy()
    np.testing.assert_allclose(phi @ found["theta"][-1], found["words"], atol=1e-2)


def stored_phi(browser):
    """φ as the page holds it, decoded in Python."""
    stored = browser.execute_script("return data.phi")
    counts, topics, values = (
        np.frombuffer(base64.b64decode(stored[name]), kind)
        for name, kind in (("counts", "<u2"), ("topics", "<u2"), ("values", "<f2"))
    )
    offsets = np.concatenate([[0], np.cumsum(counts.astype(np.int64))])
    values = values.astype(np.float64) / stored["scale"]
    return SparsePhi(offsets, topics.astype(np.int64), values, np.array(stored["rest"]))


def test_a_topic_shows_its_words_neighbours_and_what_follows(browser, opened):
    model, of = topic_model(), corpus()
    opened(model, of)
    phi = model.emission.phi.double().numpy()
    find(browser, "topic-3").click()
    best = np.argsort(-phi[:, 3])
    assert find(browser, "topic-heading").text.startswith(f"Topic 3: w{best[0]}, w{best[1]}, ")
    assert find(browser, "topic-3").get_attribute("aria-selected") == "true"
    names, values = bars(browser, "topic-words")
    assert names == [f"w{w}" for w in best[:20]]
    np.testing.assert_allclose(values, phi[best[:20], 3], atol=6e-3)
    share = browser.execute_script("return Array.from(model.share)")
    relevance = np.log(phi[:, 3]) - 0.4 * np.log(phi @ share)
    browser.find_element(By.CSS_SELECTOR, 'input[name="order"][value="0.6"]').click()
    assert bars(browser, "topic-words")[0] == [f"w{w}" for w in np.argsort(-relevance)[:20]]
    table = model.network.input.table().detach().double().numpy()[:-1]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    nearest = [k for k in np.argsort(-(unit @ unit[3])) if k != 3]
    similar = texts(browser, "#topic-similar button")
    assert [int(text.split()[0]) for text in similar] == nearest
    assert texts(browser, "#topic-similar .value")[0] == f"{unit[nearest[0]] @ unit[3]:.2f}"
    ahead = python_numbers(model, WORDS)["after"]
    find(browser, "topic-1").click()
    for (topic, p), theta in zip(first_topics(browser, "topic-ahead"), ahead, strict=True):
        assert topic == theta.argmax() and p == pytest.approx(theta.max(), abs=6e-3)


def test_passages_are_coloured_by_topic_and_named(browser, opened):
    opened(certain_model(), corpus(vocabulary=list(certain_model().vocabulary)))
    find(browser, "topic-2").click()
    assert texts(browser, "figcaption")[0].startswith("reader ")
    words = "#topic-passages .word"
    titles, classes = (attributes(browser, words, name) for name in ("title", "class"))
    assert len(titles) > 20
    for word, title, kind in zip(texts(browser, words), titles, classes, strict=True):
        topic = int(word[1])
        assert title.startswith(f"{topic}\u2002t{topic}-")
        assert ("c1" in kind) == (topic == 2)
    legend = texts(browser, "#topic-passages .legend button")
    assert legend[0].startswith("2\u2002t2-")


def test_a_search_finds_the_topics_that_use_a_word(browser, opened):
    model = topic_model()
    opened(model, corpus())
    share = np.array(browser.execute_script("return Array.from(model.share)"))
    joint = model.emission.phi.double().numpy() * share
    posterior = joint / joint.sum(axis=1, keepdims=True)
    find(browser, "search").send_keys("W1")
    assert set(texts(browser, "#matches button")) <= {"w1", *(f"w1{i}" for i in range(10))}
    for word in (1, 13):
        button = next(b for b in browser.find_elements(By.CSS_SELECTOR, "#matches button")
                      if b.text == f"w{word}" or word == 1)  # fmt: skip
        button.click()
        topics = map(int, texts(browser, "#topic-list .number"))
        values = map(percentage, texts(browser, "#topic-list .value"))
        found = dict(zip(topics, values, strict=True))
        best = [int(k) for k in np.argsort(-posterior[word]) if posterior[word, k] >= 0.005]
        assert list(found) == best
        np.testing.assert_allclose(list(found.values()), posterior[word, best], atol=6e-3)
        find(browser, "search").clear()
        find(browser, "search").send_keys("w13")
    find(browser, "search").send_keys(Keys.ESCAPE)
    assert len(texts(browser, "#topic-list li")) == K
    find(browser, "search").send_keys("nothing like it")
    assert find(browser, "list-caption").text == "The page knows no such word."
    assert texts(browser, "#topic-list li") == []


def test_a_typed_text_is_read_and_the_forecast_moves(browser, opened):
    model = topic_model()
    opened(model, corpus())
    area = find(browser, "text")
    area.clear()
    area.send_keys("\n".join([*(f"w{w}" for w in WORDS[:2]), "unheard", "W17"]))
    words = WORDS[:3]
    assert texts(browser, "#reader .word") == [f"w{w}" for w in words]
    assert find(browser, "unknown").text == "1 unknown to the page, skipped."
    assert Select(find(browser, "history")).first_selected_option.text == "your own"
    for step in (3, 2, 3):
        expected = python_numbers(model, words[:step])
        assert find(browser, "position-shown").text == f"{step} of 3 read"
        names, values = bars(browser, "next-topics")
        order = np.argsort(-expected["theta"][-1])
        assert [int(name.split()[0]) for name in names] == order.tolist()
        np.testing.assert_allclose(values, expected["theta"][-1][order], atol=6e-3)
        names, values = bars(browser, "next-words")
        order = np.argsort(-expected["words"])[:10]
        np.testing.assert_allclose(values, expected["words"][order], atol=6e-3)
        assert names[0] == f"w{order[0]}"
        sentence = find(browser, "forecast").text
        last = expected["posterior"][-1]
        start = f"After “w{words[step - 1]}” (topic {last.argmax()}, "
        assert sentence.startswith(start)
        assert percentage(re.findall(r", (.+?)\)", sentence)[0]) == pytest.approx(
            last.max(), abs=6e-3
        )
        assert f": topic {expected['theta'][-1].argmax()} (" in sentence
        assert f"likeliest words are w{order[0]} " in sentence
        assert texts(browser, "#ahead th") == ["+2", "+3", "+4", "+5"]
        for (topic, p), theta in zip(
            first_topics(browser, "ahead"), expected["ahead"][1:], strict=True
        ):
            assert topic == theta.argmax() and p == pytest.approx(theta.max(), abs=6e-3)
        find(browser, "position").send_keys(Keys.ARROW_LEFT if step == 3 else Keys.ARROW_RIGHT)
    area.clear()
    area.send_keys(" ")
    assert find(browser, "forecast").text.startswith("At the start: topic ")


def test_prose_is_cut_into_words_as_its_corpus_was(browser, opened):
    of = corpus(vocabulary=["tea", "don't", "größe", "Moon", "12th"])
    manifest = {"tokenizer": {"rule": "words", "keep_case": False, "min_letters": 2}}
    opened(topic_model(of), replace(of, manifest=manifest))
    area = find(browser, "text")
    area.clear()
    area.send_keys("“Tea!” Don’t… tea's GRÖSSE größe, (12th) nope")
    assert texts(browser, "#reader .word") == ["tea", "don't", "tea", "größe", "12th"]
    browser.execute_script("data.tokenizer.rule = 'split'; readText();")
    assert texts(browser, "#reader .word")[-2:] == ["größe", "12th"]


def test_each_word_shows_its_topic_or_source(browser, opened):
    model, of = source_model(), corpus(seed=7)  # others than those that sources were counted over
    opened(model, of)
    words = of.document(0).tolist()
    expected = python_numbers(model, words)
    titles = attributes(browser, "#reader .word", "title")
    kinds = attributes(browser, "#reader .word", "class")
    chosen, topics = expected["origin"].argmax(axis=1), expected["posterior"].argmax(axis=1)
    assert 0 < np.count_nonzero(chosen) < len(words), "topics and sources both"
    for title, kind, j, k in zip(titles, kinds, chosen, topics, strict=True):
        name = f"source {model.source_names[j - 1]} (" if j else f"{k}\u2002"
        assert title.startswith(name) and ("sourced" in kind) == (j > 0)
    names = texts(browser, "#next-origins .name")
    assert names == ["the topics", *(f"source {name}" for name in model.source_names)]
    values = [percentage(text) for text in texts(browser, "#next-origins .value")]
    np.testing.assert_allclose(values, expected["gate"][-1], atol=6e-3)
    assert "the next word comes from the topics " in find(browser, "forecast").text
    opened(topic_model(), of)
    assert not find(browser, "origins").is_displayed()


def test_a_history_of_the_corpus_is_read(browser, opened):
    model, of = topic_model(), corpus()
    opened(model, of)
    Select(find(browser, "history")).select_by_visible_text("reader 4")
    words = of.document(4).tolist()
    assert texts(browser, "#reader .word") == of.items(4)
    assert find(browser, "text").get_attribute("value").split("\n") == of.items(4)
    titles = attributes(browser, "#reader .word", "title")
    topics = python_numbers(model, words)["posterior"].argmax(axis=1)
    assert [int(title.split("\u2002")[0]) for title in titles] == topics.tolist()
    browser.find_elements(By.CSS_SELECTOR, "#reader .word")[6].click()
    assert find(browser, "position-shown").text == "7 of 20 read"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#reader .later")) == 13


def test_everything_can_be_done_by_the_keyboard(browser, opened):
    opened(topic_model(), corpus())
    browser.execute_script("""window.reached = []; addEventListener("focusin", (event) =>
        reached.push(event.target.id || event.target.dataset.goto || event.target.tagName))""")
    ActionChains(browser).send_keys(Keys.TAB * 150).perform()
    reached = browser.execute_script("return window.reached")
    order = ("topics", "search", "topic-list", "BUTTON", "history", "text", "play", "position")
    places = [reached.index(name) for name in order]
    assert places == sorted(places), "in the order of the page"
    assert reached.count("BUTTON") > 50, "words, topics and legends are buttons"
    first = texts(browser, "#topic-list .number")
    chosen = attributes(browser, '#topic-list [aria-selected="true"]', "id")
    assert chosen == [f"topic-{first[0]}"]
    listbox = find(browser, "topic-list")
    for key, place in [
        (Keys.ARROW_DOWN, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1), (Keys.END, K - 1),
        (Keys.ARROW_DOWN, K - 1), (Keys.HOME, 0), (Keys.PAGE_DOWN, K - 1), (Keys.PAGE_UP, 0),
    ]:  # fmt: skip
        listbox.send_keys(key)
        assert listbox.get_attribute("aria-activedescendant") == f"topic-{first[place]}"
        assert find(browser, "topic-heading").text.startswith(f"Topic {first[place]}: ")
    link = browser.find_element(By.CSS_SELECTOR, "#topic-words button")
    word = link.text
    link.send_keys(Keys.ENTER)
    assert find(browser, "search").get_attribute("value") == word
    find(browser, "back").send_keys(Keys.ENTER)
    assert find(browser, "position-shown").text == "19 of 20 read"
    assert find(browser, "position").get_attribute("aria-valuetext") == "19 of 20 read"
    browser.find_element(By.CSS_SELECTOR, '[data-goto="about"]').send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "about-heading"


def test_playing_reads_word_after_word_and_speaks_when_it_stops(browser, opened):
    opened(topic_model(), corpus())
    spoken = find(browser, "forecast").text
    find(browser, "play").click()
    assert find(browser, "play").text == "Pause"
    WebDriverWait(browser, 5).until(lambda b: find(b, "position-shown").text == "2 of 20 read")
    assert find(browser, "forecast").text == spoken
    find(browser, "play").click()
    assert find(browser, "play").text == "Play"
    assert find(browser, "forecast").text != spoken


def test_every_control_has_a_name_and_a_role(browser, opened):
    opened(topic_model(), corpus())
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "textbox", "searchbox", "slider", "radio", "listbox", "option"}
    controls = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert {node["role"]["value"] for node in controls} == roles
    nameless = [node["role"]["value"] for node in controls if not node["name"]["value"].strip()]
    assert nameless == []
    live = browser.find_elements(By.CSS_SELECTOR, '[aria-live="polite"]')
    assert [found.get_attribute("id") for found in live] == ["forecast"]


def test_names_are_shown_as_text_whatever_they_are(browser, opened):
    of = corpus(vocabulary=[*HOSTILE, *(f"w{w}" for w in range(8))])
    of = replace(of, names=tuple(f"{HOSTILE[d % len(HOSTILE)]} {d}" for d in range(12)))
    opened(topic_model(of), of, title=HOSTILE[0])
    assert browser.title == HOSTILE[0] and texts(browser, "h1") == [HOSTILE[0]]
    for name in HOSTILE[:4]:
        find(browser, "search").clear()
        find(browser, "search").send_keys(name)
        assert name in texts(browser, "#matches button")
    for k in range(K):
        browser.execute_script("showTopic(arguments[0])", k)
    Select(find(browser, "history")).select_by_index(1)
    assert set(browser.execute_script("return data.vocabulary.slice(0, 4)")) == set(HOSTILE[:4])
    for tag in ("img", "b", "script:not([id]) ~ script"):
        assert browser.find_elements(By.CSS_SELECTOR, tag) == []
    assert browser.execute_script("return window.broken") is None


@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_is_wider_than_the_window(browser, opened, width):
    of = corpus(vocabulary=[f"{'long' * 15} {w}" for w in range(V)])
    opened(topic_model(of), of, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cut = """return [...document.querySelectorAll("ul, ol, p, table, section, article")]
        .filter((e) => e.scrollWidth > e.clientWidth && e.clientWidth > 1).map((e) => e.id)"""
    assert browser.execute_script(cut) == []


def test_the_page_is_dark_where_the_reader_wants_it(browser, opened):
    shades = []
    for theme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        opened(topic_model(), corpus())
        shades.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert shades == ["rgb(251, 251, 249)", "rgb(20, 24, 28)"]


def test_the_frame_of_a_notebook_works_and_stays_where_it_is(browser, opened, tmp_path):
    made = opened(topic_model(), corpus())
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html>{made._repr_html_()}", encoding="utf-8")
    browser.get(notebook.as_uri())
    browser.switch_to.frame(0)
    find(browser, "topic-2").click()
    assert find(browser, "topic-heading").text.startswith("Topic 2: ")
    browser.find_element(By.CSS_SELECTOR, '[data-goto="reading"]').click()
    assert find(browser, "forecast").text.startswith("After ")
    browser.switch_to.default_content()
    assert browser.current_url == notebook.as_uri()
