"use strict";
// What the page shows and how it answers. `rule.js` calculates, `parts.js` makes the elements.

const data = JSON.parse(byId("data").textContent);
const model = decodeModel(data);
const marginal = nextWords(model, model.share).map((p) => Math.max(p, 1e-12));
const wordNumbers = new Map();
data.vocabulary.forEach((name, w) => {
  if (!wordNumbers.has(name)) wordNumbers.set(name, w);
});
const TOPIC_NAMES = nameTopics(3);

const N_WORDS = 20; // of a topic
const N_MATCHES = 8; // words that a search finds
const MAX_READ = 500; // words of a text
const STEPS = 5;
const PLAY_MS = 700; // per word
const LETTER_RUN = /[\p{L}\p{N}]\p{M}*(?:['_·]?[\p{L}\p{N}]\p{M}*)*/gu;

const shown = { topic: 0, order: [], word: null, words: [], reading: null, step: 0, timer: null };

// ---- Topics ----------------------------------------------------------------------------------

// A name for every topic: its likeliest words.
function nameTopics(n) {
  const best = Array.from({ length: model.nTopics }, () => []);
  const { offsets, topics, values } = model.phi;
  for (let w = 0; w < model.nWords; w++) {
    for (let i = offsets[w]; i < offsets[w + 1]; i++) {
      const row = best[topics[i]];
      if (row.length === n && values[i] <= row[n - 1].value) continue;
      const place = row.findIndex((entry) => entry.value < values[i]);
      row.splice(place < 0 ? row.length : place, 0, { word: w, value: values[i] });
      row.length = Math.min(row.length, n);
    }
  }
  return best.map((row) => row.map((entry) => data.vocabulary[entry.word]).join(", "));
}

function topicName(k) {
  return `${k}\u2002${TOPIC_NAMES[k]}`;
}

// Topics as options, in this order, each with its share or its probability given a word.
function listTopics(order, values) {
  shown.order = order;
  const options = order.map((k) =>
    element(
      "li",
      { role: "option", id: `topic-${k}`, "aria-selected": "false", click: () => showTopic(k) },
      element("span", { class: "number" }, String(k)),
      element("span", {}, TOPIC_NAMES[k]),
      element("span", { class: "value" }, percent(values[k])),
    ),
  );
  byId("topic-list").replaceChildren(...options);
  markTopic();
}

function listAllTopics() {
  listTopics(largest(model.share, model.nTopics), model.share);
  byId("list-caption").textContent = `${count(model.nTopics)} topics, the largest first: share of words`;
}

// The option of the topic that is shown.
function markTopic() {
  const list = byId("topic-list");
  for (const option of list.querySelectorAll('[aria-selected="true"]')) {
    option.setAttribute("aria-selected", "false");
  }
  const option = byId(`topic-${shown.topic}`);
  list.removeAttribute("aria-activedescendant");
  if (!option) return;
  option.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", option.id);
  const above = option.offsetTop - list.offsetTop;
  if (above < list.scrollTop) list.scrollTop = above;
  const below = above + option.offsetHeight - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
}

// Arrow keys, page keys, Home and End in the list.
function moveInList(event) {
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || shown.order.length === 0) return;
  event.preventDefault();
  const place = shown.order.indexOf(shown.topic);
  const wanted = place < 0 ? 0 : place + moves[event.key];
  showTopic(shown.order[Math.min(Math.max(wanted, 0), shown.order.length - 1)]);
}

function showTopic(k) {
  shown.topic = k;
  markTopic();
  byId("topic-heading").textContent = `Topic ${k}: ${TOPIC_NAMES[k]}`;
  byId("topic-share").textContent = `${percent(model.share[k])} of the words that were counted`;
  showTopicWords();
  showFollowers(k);
  const ahead = aheadOfTopic(model, k, STEPS);
  byId("topic-ahead").replaceChildren(aheadTable(ahead, 1, 2, topicName, goToTopic));
  showSimilar(k);
  showPassages(k);
}

// From elsewhere in the page.
function goToTopic(k) {
  if (!shown.order.includes(k)) clearSearch();
  showTopic(k);
  goTo("topics");
}

function showTopicWords() {
  const lambda = Number(document.querySelector('input[name="order"]:checked').value);
  const words = topicWords(model, shown.topic, marginal, lambda).slice(0, N_WORDS);
  const most = Math.max(...words.map((entry) => entry.probability));
  const rows = words.map(({ word, probability }) =>
    barRow(data.vocabulary[word], probability, most, () => chooseWord(word)),
  );
  byId("topic-words").replaceChildren(...rows);
}

function showFollowers(k) {
  const stays = data.follows.stays[k];
  const others = data.follows.others[k];
  byId("topic-stays").textContent =
    stays === null
      ? "Nothing follows it in the documents that were counted."
      : `Itself: ${percent(stays)} of the time.` +
        (others.length ? " More often than elsewhere:" : " No other topic often enough to say.");
  const rows = others.map(([j, lift, n]) =>
    linkRow(topicName(j), `${lift.toFixed(1)} × (${count(n)})`, () => goToTopic(j)),
  );
  byId("topic-follows").replaceChildren(...rows);
}

function showSimilar(k) {
  const cosines = similarTopics(model, k);
  cosines[k] = -2;
  const rows = largest(cosines, Math.min(5, model.nTopics - 1)).map((j) =>
    linkRow(topicName(j), cosines[j].toFixed(2), () => goToTopic(j)),
  );
  byId("topic-similar").replaceChildren(...rows);
}

// Excerpts with their words and topics.
function decodeExcerpts(packed) {
  const words = decodeShorts(packed.words);
  const topics = decodeShorts(packed.topics);
  let first = 0;
  return packed.lengths.map((n, i) => {
    const excerpt = {
      topic: packed.topic[i],
      name: packed.names[packed.document[i]],
      words: Array.from(words.subarray(first, first + n)),
      topics: Array.from(topics.subarray(first, first + n)),
    };
    first += n;
    return excerpt;
  });
}

const passages = decodeExcerpts(data.passages);
const histories = decodeExcerpts(data.histories);

function showPassages(k) {
  const own = passages.filter((passage) => passage.topic === k);
  const figures = own.map(({ name, words, topics }) => {
    const colours = colourTopics(topics, k);
    const text = element("p", { class: "passage" });
    words.forEach((w, i) => {
      text.append(colouredWord(data.vocabulary[w], topics[i], colours, topicName), " ");
    });
    const legend = element("div", { class: "legend" }, ...legendOf(colours, topicName, goToTopic));
    return element("figure", {}, element("figcaption", {}, name), text, legend);
  });
  const none = element("p", { class: "note" }, "None in the documents that were counted.");
  byId("topic-passages").replaceChildren(...(own.length ? figures : [none]));
}

// ---- Search ----------------------------------------------------------------------------------

// Words equal to the query, then those that begin with it, then those that contain it.
function findWords(query) {
  const wanted = query.trim().toLowerCase();
  if (!wanted) return [];
  const found = [[], [], []];
  data.vocabulary.forEach((name, w) => {
    const place = name.toLowerCase().indexOf(wanted);
    if (place < 0) return;
    found[place > 0 ? 2 : name.length > wanted.length ? 1 : 0].push(w);
  });
  for (const group of found) group.sort((a, b) => marginal[b] - marginal[a]);
  return found.flat().slice(0, N_MATCHES);
}

function search() {
  const query = byId("search").value;
  const found = findWords(query);
  const buttons = found.map((w) =>
    element(
      "button",
      { type: "button", "aria-pressed": "false", "data-word": w, click: () => listTopicsOf(w) },
      data.vocabulary[w],
    ),
  );
  byId("matches").replaceChildren(...buttons);
  if (found.length) listTopicsOf(found[0]);
  else if (!query.trim()) listAllTopics();
  else {
    listTopics([], []);
    byId("list-caption").textContent = "The page knows no such word.";
  }
}

// The topics that use a word.
function listTopicsOf(w) {
  for (const button of byId("matches").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.word) === w));
  }
  const p = topicsOfWord(model, w);
  const order = largest(p, 30).filter((k) => p[k] >= 0.005);
  listTopics(order, p);
  byId("list-caption").textContent = `Topics of “${data.vocabulary[w]}”: p(topic | word)`;
  if (order.length && !order.includes(shown.topic)) showTopic(order[0]);
}

// A word that was chosen elsewhere becomes the search.
function chooseWord(w) {
  byId("search").value = data.vocabulary[w];
  search();
  const button = [...byId("matches").children].find((b) => Number(b.dataset.word) === w);
  if (button) listTopicsOf(w);
  goTo("topics");
}

function clearSearch() {
  byId("search").value = "";
  search();
}

// ---- Reading ---------------------------------------------------------------------------------

// A typed text in pieces: words, or items one per line.
function splitText(text) {
  if (!data.tokenizer) return text.split("\n").map((line) => line.trim()).filter(Boolean);
  const { rule, keep_case: keepsCase } = data.tokenizer;
  if (rule === "split") return text.split(/\s+/u).filter(Boolean);
  const plain = text.normalize("NFC").replace(/[\u2018\u2019\u02bc\uff07\u00b4`]/gu, "'");
  const found = (keepsCase ? plain : plain.toLowerCase()).match(LETTER_RUN) || [];
  return found.map((word) => word.replace(/'s$/iu, ""));
}

// The number of a word as it stands, in lower case, or without what stands around it.
function numberOf(piece) {
  const bare = piece.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
  const spellings = [piece, piece.toLowerCase(), bare, bare.toLowerCase()];
  const known = spellings.find((spelling) => wordNumbers.has(spelling));
  return known === undefined ? -1 : wordNumbers.get(known);
}

function readText() {
  const numbers = splitText(byId("text").value).map(numberOf);
  const words = numbers.filter((w) => w >= 0);
  startReading(words.slice(0, MAX_READ));
  const nUnknown = numbers.length - words.length;
  const notes = [];
  if (nUnknown) notes.push(`${count(nUnknown)} unknown to the page, skipped.`);
  if (words.length > MAX_READ) notes.push(`Only the first ${MAX_READ} are read.`);
  byId("unknown").textContent = notes.join(" ");
}

function chooseHistory() {
  const history = histories[Number(byId("history").value)];
  if (!history) return;
  const joint = data.tokenizer ? " " : "\n";
  byId("text").value = history.words.map((w) => data.vocabulary[w]).join(joint);
  byId("unknown").textContent = "";
  startReading(history.words);
}

// Read words from the start to the end.
function startReading(words) {
  stopPlaying();
  shown.words = words;
  shown.reading = readWords(model, words);
  const topics = shown.reading.posteriors.map(indexOfLargest);
  const colours = colourTopics(topics);
  const spans = words.flatMap((w, t) => {
    const word = colouredWord(data.vocabulary[w], topics[t], colours, topicName);
    word.title += ` (${percent(shown.reading.posteriors[t][topics[t]])})`;
    word.addEventListener("click", () => showStep(t + 1));
    return [word, " "];
  });
  byId("reader").replaceChildren(...spans);
  byId("reader").hidden = words.length === 0;
  byId("reader-legend").replaceChildren(...legendOf(colours, topicName, goToTopic));
  byId("position").max = words.length;
  showStep(words.length);
}

// The forecast after `step` words.
function showStep(step) {
  const { words, reading } = shown;
  shown.step = Math.min(Math.max(step, 0), words.length);
  markPosition();
  const theta = reading.thetas[shown.step];
  const wordChances = nextWords(model, theta);
  const topics = largest(theta, 6);
  const next = largest(wordChances, 10);
  showBars("next-topics", topics, theta, topicName, goToTopic);
  showBars("next-words", next, wordChances, (w) => data.vocabulary[w], chooseWord);
  const ahead = topicsAhead(model, reading.states[shown.step], STEPS).slice(1);
  byId("ahead").replaceChildren(aheadTable(ahead, 2, 2, topicName, goToTopic));
  if (shown.timer === null) sayForecast(theta, topics, wordChances, next);
}

// Bars of the given topics or words, the first the longest.
function showBars(id, chosen, values, nameOf, onChoose) {
  const bars = chosen.map((i) => barRow(nameOf(i), values[i], values[chosen[0]], () => onChoose(i)));
  byId(id).replaceChildren(...bars);
}

function markPosition() {
  const { step, words } = shown;
  byId("position").value = step;
  byId("position").setAttribute("aria-valuetext", positionText());
  byId("position-shown").textContent = positionText();
  byId("back").disabled = step === 0;
  byId("forward").disabled = step === words.length;
  [...byId("reader").children].forEach((span, t) => {
    span.classList.toggle("later", t >= step);
    span.classList.toggle("now", t === step - 1);
    if (t === step - 1) keepInView(byId("reader"), span);
  });
}

function keepInView(box, part) {
  const outside = part.offsetTop < box.scrollTop || part.offsetTop > box.scrollTop + box.clientHeight - 32;
  if (outside) box.scrollTop = part.offsetTop - 48;
}

function positionText() {
  return `${count(shown.step)} of ${count(shown.words.length)} read`;
}

// The forecast in a sentence, which screen readers speak.
function sayForecast(theta, topics, wordChances, next) {
  const start = shown.step ? `After “${data.vocabulary[shown.words[shown.step - 1]]}”` : "At the start";
  const [k] = topics;
  const few = next.slice(0, 3).map((w) => `${data.vocabulary[w]} ${percent(wordChances[w])}`);
  byId("forecast").textContent =
    `${start}: topic ${k} (${TOPIC_NAMES[k]}) comes next with probability ${percent(theta[k])}; ` +
    `the likeliest words are ${few.join(", ")}.`;
}

function play() {
  if (shown.timer !== null) {
    stopPlaying();
    showStep(shown.step);
    return;
  }
  byId("play").textContent = "Pause";
  shown.timer = setInterval(playOne, PLAY_MS);
  showStep(shown.step >= shown.words.length ? 0 : shown.step);
}

function playOne() {
  const isLast = shown.step + 1 >= shown.words.length;
  if (isLast) stopPlaying();
  showStep(shown.step + 1);
}

function stopPlaying() {
  clearInterval(shown.timer);
  shown.timer = null;
  byId("play").textContent = "Play";
}

// ---- The page --------------------------------------------------------------------------------

// Bring a part into view, for readers of the keyboard, too.
function goTo(id) {
  const part = byId(id);
  const box = part.getBoundingClientRect();
  if (box.top > window.innerHeight * 0.8 || box.bottom < window.innerHeight * 0.2) part.scrollIntoView();
}

function describePage() {
  const { documents } = data.facts;
  byId("summary").textContent =
    `${data.kind.replace("_lla", " LLA")}: ${count(model.nTopics)} topics, ` +
    `${count(data.facts.words)} words, ${count(documents)} documents`;
  byId("notes").replaceChildren(...data.notes.map((note) => element("li", {}, note)));
  byId("reading-help").textContent =
    "Choose a sequence or give your own; the forecast is what the model expects after the words read so far.";
  byId("text-label").textContent = data.tokenizer ? "Text" : "Items, one per line";
  const options = histories.map((history, i) => element("option", { value: i }, history.name));
  byId("history").replaceChildren(element("option", { value: "" }, "your own"), ...options);
}

function listen() {
  byId("topic-list").addEventListener("keydown", moveInList);
  byId("search").addEventListener("input", search);
  byId("search").addEventListener("keydown", (event) => event.key === "Escape" && clearSearch());
  for (const radio of document.querySelectorAll('input[name="order"]')) {
    radio.addEventListener("change", showTopicWords);
  }
  byId("history").addEventListener("change", chooseHistory);
  byId("text").addEventListener("input", () => {
    byId("history").value = "";
    readText();
  });
  byId("position").addEventListener("input", (event) => showStep(Number(event.target.value)));
  byId("back").addEventListener("click", () => showStep(shown.step - 1));
  byId("forward").addEventListener("click", () => showStep(shown.step + 1));
  byId("play").addEventListener("click", play);
  for (const button of document.querySelectorAll("[data-goto]")) {
    button.addEventListener("click", () => {
      byId(`${button.dataset.goto}-heading`).focus({ preventScroll: true });
      byId(button.dataset.goto).scrollIntoView();
    });
  }
}

describePage();
listen();
listAllTopics();
showTopic(shown.order[0]);
byId("history").value = histories.length ? "0" : "";
chooseHistory();
