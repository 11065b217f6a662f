"use strict";
// The numbers of the page: weights are decoded, texts read and forecasts made. `rule.py` says how
// and does the same in Python.

// Base64 to bytes.
function decodeBytes(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Base64 to whole numbers of 16 bits, little-endian.
function decodeShorts(text) {
  const bytes = decodeBytes(text);
  const numbers = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) numbers[i] = bytes[2 * i] | (bytes[2 * i + 1] << 8);
  return numbers;
}

// One number of 16 bits in the format IEEE 754 binary16.
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

// Base64 to 16-bit floating point numbers.
function decodeHalves(text) {
  return Float32Array.from(decodeShorts(text), halfToNumber);
}

// The model: arrays by the names of rule.py, matrices row after row.
function decodeModel(data) {
  const model = {};
  for (const [name, text] of Object.entries(data.weights)) {
    model[name] = text === null ? null : decodeHalves(text);
  }
  model.nTopics = data.share.length;
  model.nWords = data.vocabulary.length;
  model.embeddingSize = model.start.length;
  model.hiddenSize = model.bias.length / 4;
  model.share = Float64Array.from(data.share);
  model.phi = decodePhi(data.phi);
  model.tau = data.tau === null ? null : Float64Array.from(data.tau);
  model.sources = decodeSources(data.sources);
  model.counts = data.counts;
  return model;
}

function decodePhi(data) {
  const counts = decodeShorts(data.counts);
  const offsets = new Uint32Array(counts.length + 1);
  counts.forEach((n, w) => (offsets[w + 1] = offsets[w] + n));
  return {
    offsets,
    topics: decodeShorts(data.topics),
    values: decodeHalves(data.values).map((value) => value / data.scale),
    rest: Float64Array.from(data.rest),
  };
}

// Row `i` of a matrix whose rows have `size` numbers.
function rowOf(matrix, i, size) {
  return matrix.subarray(i * size, (i + 1) * size);
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[i] * b[i];
  return sum;
}

// Σ_k weights_k · row k of a matrix.
function mixRows(weights, matrix, size) {
  const sum = new Float64Array(size);
  weights.forEach((weight, k) => {
    if (weight === 0) return;
    const row = rowOf(matrix, k, size);
    for (let i = 0; i < size; i++) sum[i] += weight * row[i];
  });
  return sum;
}

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

// The state after one more input, which adds `counted` to the running counts; gates stand in the
// order i, f, g, o.
function lstmStep(model, input, state, counted) {
  const size = model.hiddenSize;
  const gate = (row) =>
    model.bias[row] +
    dot(rowOf(model.input_weight, row, model.embeddingSize), input) +
    dot(rowOf(model.state_weight, row, size), state.h);
  const counts = state.counts.map((n, i) => n + counted[i]);
  const next = { h: new Float64Array(size), c: new Float64Array(size), counts };
  for (let j = 0; j < size; j++) {
    const candidate = Math.tanh(gate(2 * size + j));
    next.c[j] = sigmoid(gate(size + j)) * state.c[j] + sigmoid(gate(j)) * candidate;
    next.h[j] = sigmoid(gate(3 * size + j)) * Math.tanh(next.c[j]);
  }
  return next;
}

// The state after the start symbol.
function beginState(model) {
  const none = new Float64Array(model.output_bias.length);
  const zero = { h: new Float64Array(model.hiddenSize), c: new Float64Array(model.hiddenSize), counts: none };
  return lstmStep(model, model.start, zero, none);
}

function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

// θ, p(next topic), and π, p(where the next word comes from): the topics, then each source.
function expect(model, state) {
  const logits = new Float64Array(model.output_bias.length);
  for (let k = 0; k < logits.length; k++) {
    logits[k] = model.output_bias[k] + dot(rowOf(model.output_weight, k, model.hiddenSize), state.h);
    if (model.counts === null) continue;
    const part = k < model.nTopics ? 0 : 1;
    logits[k] += model.counts.exponent[part] * Math.log(state.counts[k] + model.counts.prior[part]);
  }
  const gate = model.sources === null ? Float64Array.of(1) : softmax(logits.slice(model.nTopics));
  return { theta: softmax(logits.slice(0, model.nTopics)), gate };
}

// φ_wk of one word and all topics.
function likelihood(phi, word) {
  const row = phi.rest.slice();
  for (let i = phi.offsets[word]; i < phi.offsets[word + 1]; i++) row[phi.topics[i]] = phi.values[i];
  return row;
}

// What a personal emission keeps of a text: how often each word had each topic.
function emptyUrn(model) {
  return { totals: new Float64Array(model.nTopics), own: new Map() };
}

function addToUrn(urn, word, topic) {
  if (!urn.own.has(word)) urn.own.set(word, new Float64Array(urn.totals.length));
  urn.own.get(word)[topic] += 1;
  urn.totals[topic] += 1;
}

// p(word | topic) of one word and all topics; τ is null where φ is shared.
function emission(model, word, urn) {
  const row = likelihood(model.phi, word);
  if (model.tau === null) return row;
  const own = urn.own.get(word);
  return row.map((value, k) => {
    const count = own ? own[k] : 0;
    return (count + model.tau[k] * value) / (urn.totals[k] + model.tau[k]);
  });
}

// q: p(topic of the word | the words up to it), θ itself where no topic can emit the word; and
// p(word | topics).
function assignTopic(model, theta, word, urn) {
  const joint = emission(model, word, urn).map((value, k) => value * theta[k]);
  const total = joint.reduce((a, b) => a + b, 0);
  return { posterior: total > 0 ? joint.map((value) => value / total) : theta, total };
}

// p(where the word came from | the words up to it): the topics, then each source.
function assignOrigin(model, gate, ofTopics, word, trail) {
  if (model.sources === null) return gate;
  const ofSources = sourceChance(model.sources, trail, word);
  const joint = gate.map((value, j) => value * (j === 0 ? ofTopics : ofSources[j - 1]));
  const total = joint.reduce((a, b) => a + b, 0);
  return total > 0 ? joint.map((value) => value / total) : gate;
}

function indexOfLargest(values) {
  let best = 0;
  for (let k = 1; k < values.length; k++) if (values[k] > values[best]) best = k;
  return best;
}

// Indices of the n largest values, largest first, ties in their order.
function largest(values, n) {
  const best = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === n && !(values[i] > values[best[n - 1]])) continue;
    let place = best.length;
    while (place > 0 && values[i] > values[best[place - 1]]) place--;
    best.splice(place, 0, i);
    if (best.length > n) best.pop();
  }
  return best;
}

// Shares of topics and origins of which one is chosen.
function onlyOne(size, chosen) {
  const share = new Float64Array(size);
  share[chosen] = 1;
  return share;
}

// Σ_k θ_k e_k, and the embeddings of sources by their shares.
function meanInput(model, theta, gate) {
  const size = model.embeddingSize;
  const input = mixRows(theta, model.topic_input, size);
  if (model.source_input === null) return input;
  const more = mixRows(gate.slice(1), model.source_input, size);
  return input.map((value, i) => value + more[i]);
}

// What shares of topics and origins add to the running counts.
function countedOf(model, theta, gate) {
  return model.sources === null ? theta : Float64Array.of(...theta, ...gate);
}

// Read words: states, θ and π before each and after the last; q, p(origin), and the likeliest
// topic and origin of each.
function readWords(model, words) {
  const found = { words, states: [beginState(model)], thetas: [], gates: [] };
  Object.assign(found, { posteriors: [], origins: [], topics: [], chosen: [] });
  const look = (state) => {
    const { theta, gate } = expect(model, state);
    found.thetas.push(theta);
    found.gates.push(gate);
  };
  look(found.states[0]);
  const urn = emptyUrn(model);
  const trail = emptyTrail();
  words.forEach((word, t) => {
    const { posterior, total } = assignTopic(model, found.thetas[t], word, urn);
    const origin = assignOrigin(model, found.gates[t], total, word, trail);
    const [topic, chosen] = [indexOfLargest(posterior), indexOfLargest(origin)];
    found.posteriors.push(posterior);
    found.origins.push(origin);
    found.topics.push(topic);
    found.chosen.push(chosen);
    addToUrn(urn, word, topic);
    if (model.sources !== null) addToTrail(model.sources, trail, word);
    const shares = [onlyOne(model.nTopics, topic), onlyOne(origin.length, chosen)];
    const input = model.word_input
      ? rowOf(model.word_input, word, model.embeddingSize)
      : meanInput(model, ...shares);
    found.states.push(lstmStep(model, input, found.states[t], countedOf(model, ...shares)));
    look(found.states[t + 1]);
  });
  return found;
}

// p(topic) of the next places, one θ each.
function topicsAhead(model, state, steps) {
  let { theta, gate } = expect(model, state);
  const found = [theta];
  while (found.length < steps) {
    state = lstmStep(model, meanInput(model, theta, gate), state, countedOf(model, theta, gate));
    ({ theta, gate } = expect(model, state));
    found.push(theta);
  }
  return found;
}

// What is expected where a topic begins a sequence.
function aheadOfTopic(model, topic, steps) {
  const nOrigins = model.sources === null ? 1 : 1 + model.sources.names.length;
  const shares = [onlyOne(model.nTopics, topic), onlyOne(nOrigins, 0)];
  const state = lstmStep(model, meanInput(model, ...shares), beginState(model), countedOf(model, ...shares));
  return topicsAhead(model, state, steps);
}

// p(word) = Σ_k θ_k φ_wk of all words.
function nextWords(model, theta) {
  const { offsets, topics, values, rest } = model.phi;
  const words = new Float64Array(model.nWords).fill(dot(rest, theta));
  for (let w = 0; w < words.length; w++) {
    for (let i = offsets[w]; i < offsets[w + 1]; i++) {
      words[w] += theta[topics[i]] * (values[i] - rest[topics[i]]);
    }
  }
  return words;
}

// p(word | topics) of all words after `step` words of a reading.
function topicWordsAfter(model, reading, step) {
  const theta = reading.thetas[step];
  if (model.tau === null) return nextWords(model, theta);
  const urn = emptyUrn(model);
  for (let t = 0; t < step; t++) addToUrn(urn, reading.words[t], reading.topics[t]);
  const part = theta.map((value, k) => value / (urn.totals[k] + model.tau[k]));
  const words = nextWords(model, part.map((value, k) => value * model.tau[k]));
  for (const [word, counts] of urn.own) words[word] += dot(counts, part);
  return words;
}

// p(word) of all words after `step` words of a reading.
function wordsAfter(model, reading, step) {
  const ofTopics = topicWordsAfter(model, reading, step);
  if (model.sources === null) return ofTopics;
  const gate = reading.gates[step];
  const trail = emptyTrail();
  for (let t = 0; t < step; t++) addToTrail(model.sources, trail, reading.words[t]);
  const words = ofTopics.map((p) => gate[0] * p);
  sourceChances(model.sources, trail).forEach((chances, j) => {
    for (let w = 0; w < words.length; w++) words[w] += gate[j + 1] * chances[w];
  });
  return words;
}

// The words of a topic that have an entry of their own: their numbers, φ and relevance
// λ log φ + (1 − λ) log(φ / p(word)), after Sievert and Shirley (2014).
function topicWords(model, topic, marginal, lambda) {
  const { offsets, topics, values } = model.phi;
  const found = [];
  for (let w = 0; w < model.nWords; w++) {
    for (let i = offsets[w]; i < offsets[w + 1]; i++) {
      if (topics[i] !== topic || values[i] <= 0) continue;
      const relevance = Math.log(values[i]) - (1 - lambda) * Math.log(marginal[w]);
      found.push({ word: w, probability: values[i], relevance });
    }
  }
  return found.sort((a, b) => b.relevance - a.relevance || a.word - b.word);
}

// p(topic | word) over the sizes of topics.
function topicsOfWord(model, word) {
  const joint = likelihood(model.phi, word).map((value, k) => value * model.share[k]);
  const total = joint.reduce((a, b) => a + b, 0);
  return total > 0 ? joint.map((value) => value / total) : joint;
}

// Cosines of the embeddings of a topic and of all.
function similarTopics(model, topic) {
  const size = model.embeddingSize;
  const own = rowOf(model.topic_input, topic, size);
  const length = (row) => Math.sqrt(dot(row, row)) || 1;
  return Float64Array.from({ length: model.nTopics }, (_, k) => {
    const row = rowOf(model.topic_input, k, size);
    return dot(own, row) / (length(own) * length(row));
  });
}
