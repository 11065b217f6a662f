"use strict";
// A text is read word after word, and the forecast moves. `explorer.js` holds the state.

const MAX_READ = 500; // words of a text
const PLAY_MS = 700; // per word
const LETTER_RUN = /[\p{L}\p{N}]\p{M}*(?:['_·]?[\p{L}\p{N}]\p{M}*)*/gu;

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
  const { topics } = shown.reading;
  const colours = colourTopics(topics.filter((_, t) => isOfTopic(t)));
  const spans = words.flatMap((w, t) => {
    const word = isOfTopic(t)
      ? colouredWord(data.vocabulary[w], topics[t], colours, topicName)
      : element("span", { class: "word sourced" }, data.vocabulary[w]);
    word.title = producedBy(t);
    word.addEventListener("click", () => showStep(t + 1));
    return [word, " "];
  });
  byId("reader").replaceChildren(...spans);
  byId("reader").hidden = words.length === 0;
  const legend = legendOf(colours, topicName, goToTopic);
  const sourced = element("span", { class: "word sourced" }, "from a source");
  if (!words.every((_, t) => isOfTopic(t))) legend.push(sourced);
  byId("reader-legend").replaceChildren(...legend);
  byId("position").max = words.length;
  showStep(words.length);
}

// Whether the word at t is likeliest to come from its topic, and not from a source.
function isOfTopic(t) {
  return shown.reading.chosen[t] === 0;
}

// Its topic or source, with its probability given the words up to it.
function producedBy(t) {
  const { topics, posteriors, origins, chosen } = shown.reading;
  const k = topics[t];
  if (!isOfTopic(t)) return `${originName(chosen[t])} (${percent(origins[t][chosen[t]])})`;
  return `${topicName(k)} (${percent(origins[t][0] * posteriors[t][k])})`;
}

// The topics together are 0, sources are numbered from 1 on.
function originName(j) {
  return j === 0 ? "the topics" : `source ${model.sources.names[j - 1]}`;
}

// The forecast after `step` words.
function showStep(step) {
  const { words, reading } = shown;
  shown.step = Math.min(Math.max(step, 0), words.length);
  markPosition();
  const theta = reading.thetas[shown.step];
  const wordChances = wordsAfter(model, reading, shown.step);
  const topics = largest(theta, 6);
  const next = largest(wordChances, 10);
  showBars("next-topics", topics, theta, topicName, goToTopic);
  showBars("next-words", next, wordChances, (w) => data.vocabulary[w], chooseWord);
  showOrigins(reading.gates[shown.step]);
  const ahead = topicsAhead(model, reading.states[shown.step], STEPS).slice(1);
  byId("ahead").replaceChildren(aheadTable(ahead, 2, 2, topicName, goToTopic));
  if (shown.timer === null) sayForecast(theta, topics, wordChances, next);
}

// Where the next word comes from, where there are sources.
function showOrigins(gate) {
  byId("origins").hidden = model.sources === null;
  const most = Math.max(...gate);
  const rows = Array.from(gate, (p, j) => barRow(originName(j), p, most, null));
  byId("next-origins").replaceChildren(...rows);
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
  const start = shown.step ? `After ${lastWord(shown.step - 1)}` : "At the start";
  const [k] = topics;
  const few = next.slice(0, 3).map((w) => `${data.vocabulary[w]} ${percent(wordChances[w])}`);
  const gate = shown.reading.gates[shown.step];
  const origins = Array.from(gate, (p, j) => `${originName(j)} ${percent(p)}`);
  const from = model.sources === null ? "" : `the next word comes from ${origins.join(", ")}; `;
  byId("forecast").textContent =
    `${start}: topic ${k} (${TOPIC_NAMES[k]}) comes next with probability ${percent(theta[k])}; ` +
    `${from}the likeliest words are ${few.join(", ")}.`;
}

// A word that was read, with its topic or source.
function lastWord(t) {
  const { topics, posteriors, origins } = shown.reading;
  const word = `“${data.vocabulary[shown.words[t]]}”`;
  if (!isOfTopic(t)) return `${word} (${producedBy(t)})`;
  return `${word} (topic ${topics[t]}, ${percent(origins[t][0] * posteriors[t][topics[t]])})`;
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
