"use strict";
// Pieces of the page. Names of words, topics and documents are set as text, never as HTML.

const N_COLOURS = 6;

function byId(id) {
  return document.getElementById(id);
}

// An element with attributes and children; functions are handlers of clicks, texts become text.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function percent(p) {
  if (p >= 0.0995) return `${(100 * p).toFixed(0)}%`;
  if (p >= 0.00095) return `${(100 * p).toFixed(1)}%`;
  if (p >= 0.000095) return `${(100 * p).toFixed(2)}%`;
  return p > 0 ? "<0.01%" : "0%";
}

function count(n) {
  return n.toLocaleString("en");
}

// A button that looks like a link.
function link(text, onClick, attributes = {}) {
  return element("button", { type: "button", class: "link", click: onClick, ...attributes }, text);
}

// A row of a bar chart: a name, which can be chosen where `onClick` is no null, a bar, a percentage.
function barRow(text, value, most, onClick) {
  const fill = element("span", { class: "fill", "aria-hidden": "true" });
  fill.style.width = `${most > 0 ? (100 * value) / most : 0}%`;
  const name = onClick === null ? element("span", { class: "name" }, text) : link(text, onClick);
  const track = element("span", { class: "track" }, fill, name);
  return element("li", {}, track, element("span", { class: "value" }, percent(value)));
}

// A row of a list: a name that can be chosen, and a number.
function linkRow(text, value, onClick) {
  return element("li", {}, link(text, onClick), element("span", { class: "value" }, value));
}

// Colour classes of the most frequent topics; `first`, where given, has the first colour.
function colourTopics(topics, first = null) {
  const counts = new Map();
  for (const k of topics) counts.set(k, (counts.get(k) || 0) + 1);
  const order = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || a - b);
  const ranked = first === null ? order : [first, ...order.filter((k) => k !== first)];
  return new Map(ranked.slice(0, N_COLOURS).map((k, i) => [k, `c${i + 1}`]));
}

// A word in the colour of its topic; its title names the topic.
function colouredWord(text, topic, colours, nameOf) {
  const colour = colours.get(topic) || "";
  return element("span", { class: `word ${colour}`, title: nameOf(topic) }, text);
}

// Which colour is which topic.
function legendOf(colours, nameOf, onChoose) {
  return [...colours].map(([topic, colour]) => {
    const swatch = element("span", { class: `swatch ${colour}`, "aria-hidden": "true" }, "\u00a0");
    return element("span", {}, swatch, link(nameOf(topic), () => onChoose(topic)));
  });
}

// A row per step, with its likeliest topics.
function aheadTable(thetas, firstStep, nTopics, nameOf, onChoose) {
  const rows = thetas.map((theta, i) => {
    const items = largest(theta, nTopics).map((k) =>
      linkRow(nameOf(k), percent(theta[k]), () => onChoose(k)),
    );
    const step = element("th", { scope: "row" }, `+${i + firstStep}`);
    return element("tr", {}, step, element("td", {}, element("ul", { class: "links" }, ...items)));
  });
  const head = element("caption", { class: "hidden" }, "Steps ahead and their likeliest topics");
  return element("table", {}, head, element("tbody", {}, ...rows));
}
