"use strict";
// Where words come from beside the topics. `sources.py` says how and does the same in Python.

// The counts of a page, or null where a model has no sources.
function decodeSources(data) {
  if (data === null) return null;
  const pairs = decodeShorts(data.pairs);
  const offsets = new Uint32Array(pairs.length + 1);
  pairs.forEach((n, v) => (offsets[v + 1] = offsets[v] + n));
  return {
    names: data.names,
    offsets,
    followers: decodeShorts(data.followers),
    counts: decodeShorts(data.counts),
    totals: decodeSingles(data.totals),
    base: decodeSingles(data.base),
    concentrations: data.concentrations,
    decay: data.decay,
  };
}

// Base64 to 32-bit floating point numbers, little-endian.
function decodeSingles(text) {
  const view = new DataView(decodeBytes(text).buffer);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// What a text's own words say so far.
function emptyTrail() {
  return { last: -1, nWords: 0, mass: 0, weights: new Map(), pairs: new Map(), followed: new Map() };
}

function addToTrail(sources, trail, word) {
  const weight = 1 + sources.decay * weightNow(sources, trail, word);
  if (trail.last >= 0) {
    const pair = `${trail.last} ${word}`;
    trail.pairs.set(pair, (trail.pairs.get(pair) || 0) + 1);
    trail.followed.set(trail.last, (trail.followed.get(trail.last) || 0) + 1);
  }
  trail.mass = 1 + sources.decay * trail.mass;
  trail.weights.set(word, { weight, at: trail.nWords });
  trail.last = word;
  trail.nWords += 1;
}

// The decayed count of a word before the next one.
function weightNow(sources, trail, word) {
  const found = trail.weights.get(word);
  return found ? found.weight * sources.decay ** (trail.nWords - 1 - found.at) : 0;
}

// p(word) of one word, a number per source.
function sourceChance(sources, trail, word) {
  const { last } = trail;
  const [cNext, cOwn, cRecent] = sources.concentrations;
  const base = sources.base[word];
  let next = base;
  if (last >= 0) {
    let [n, kept] = [0, 0];
    for (let i = sources.offsets[last]; i < sources.offsets[last + 1]; i++) {
      kept += sources.counts[i];
      if (sources.followers[i] === word) n = sources.counts[i];
    }
    next = (n + (cNext + sources.totals[last] - kept) * base) / (sources.totals[last] + cNext);
  }
  const nPair = trail.pairs.get(`${last} ${word}`) || 0;
  const ownNext = (nPair + cOwn * next) / ((trail.followed.get(last) || 0) + cOwn);
  const recent = (weightNow(sources, trail, word) + cRecent * base) / (trail.mass + cRecent);
  const found = { next, own_next: ownNext, recent };
  return sources.names.map((name) => found[name]);
}

// p(word) of all words by what follows the last one in all documents.
function followerChances(sources, last) {
  if (last < 0) return Float64Array.from(sources.base);
  const [c] = sources.concentrations;
  const total = sources.totals[last] + c;
  let kept = 0;
  for (let i = sources.offsets[last]; i < sources.offsets[last + 1]; i++) kept += sources.counts[i];
  const rest = (total - kept) / total;
  const found = Float64Array.from(sources.base, (p) => rest * p);
  for (let i = sources.offsets[last]; i < sources.offsets[last + 1]; i++) {
    found[sources.followers[i]] += sources.counts[i] / total;
  }
  return found;
}

// p(word) of all words, an array per source.
function sourceChances(sources, trail) {
  const [, cOwn, cRecent] = sources.concentrations;
  const next = followerChances(sources, trail.last);
  const nFollowed = trail.followed.get(trail.last) || 0;
  const ownNext = next.map((p) => (cOwn * p) / (nFollowed + cOwn));
  for (const [pair, n] of trail.pairs) {
    const [before, after] = pair.split(" ").map(Number);
    if (before === trail.last) ownNext[after] += n / (nFollowed + cOwn);
  }
  const recent = Float64Array.from(sources.base, (p) => (cRecent * p) / (trail.mass + cRecent));
  for (const word of trail.weights.keys()) {
    recent[word] += weightNow(sources, trail, word) / (trail.mass + cRecent);
  }
  const found = { next, own_next: ownNext, recent };
  return sources.names.map((name) => found[name]);
}
