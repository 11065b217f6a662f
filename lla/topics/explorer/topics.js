"use strict";
// The list of topics, the topic that is shown, and the search for words. `explorer.js` holds the state.

const N_WORDS = 20; // of a topic
const N_MATCHES = 8; // words that a search finds

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
