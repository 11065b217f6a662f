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
const passages = decodeExcerpts(data.passages);
const histories = decodeExcerpts(data.histories);

const STEPS = 5;

const shown = { topic: 0, order: [], words: [], reading: null, step: 0, timer: null };

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
