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
    const row = rowOf(matrix, k, size);
    for (let i = 0; i < size; i++) sum[i] += weight * row[i];
  });
  return sum;
}

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

// h and c after one more input; gates stand in the order i, f, g, o.
function lstmStep(model, input, state) {
  const size = model.hiddenSize;
  const gate = (row) =>
    model.bias[row] +
    dot(rowOf(model.input_weight, row, model.embeddingSize), input) +
    dot(rowOf(model.state_weight, row, size), state.h);
  const next = { h: new Float64Array(size), c: new Float64Array(size) };
  for (let j = 0; j < size; j++) {
    const candidate = Math.tanh(gate(2 * size + j));
    next.c[j] = sigmoid(gate(size + j)) * state.c[j] + sigmoid(gate(j)) * candidate;
    next.h[j] = sigmoid(gate(3 * size + j)) * Math.tanh(next.c[j]);
  }
  return next;
}

// The state after the start symbol.
function beginState(model) {
  const zero = { h: new Float64Array(model.hiddenSize), c: new Float64Array(model.hiddenSize) };
  return lstmStep(model, model.start, zero);
}

// θ: p(next topic).
function nextTopics(model, state) {
  const theta = new Float64Array(model.nTopics);
  for (let k = 0; k < theta.length; k++) {
    theta[k] = model.output_bias[k] + dot(rowOf(model.output_weight, k, model.hiddenSize), state.h);
  }
  const largest = theta.reduce((a, b) => Math.max(a, b), -Infinity);
  let total = 0;
  for (let k = 0; k < theta.length; k++) total += theta[k] = Math.exp(theta[k] - largest);
  return theta.map((value) => value / total);
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

// q: p(topic of the word | the words up to it); θ itself where no topic can emit the word.
function assignTopic(model, theta, word, urn) {
  const joint = emission(model, word, urn).map((value, k) => value * theta[k]);
  const total = joint.reduce((a, b) => a + b, 0);
  return total > 0 ? joint.map((value) => value / total) : theta;
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

// What the LSTM reads after a word.
function inputOf(model, topic, word) {
  const size = model.embeddingSize;
  return model.word_input ? rowOf(model.word_input, word, size) : rowOf(model.topic_input, topic, size);
}

// Read words: states and θ before each and after the last, q and the likeliest topic of each.
function readWords(model, words) {
  const states = [beginState(model)];
  const thetas = [nextTopics(model, states[0])];
  const posteriors = [];
  const topics = [];
  const urn = emptyUrn(model);
  words.forEach((word, t) => {
    posteriors.push(assignTopic(model, thetas[t], word, urn));
    topics.push(indexOfLargest(posteriors[t]));
    addToUrn(urn, word, topics[t]);
    states.push(lstmStep(model, inputOf(model, topics[t], word), states[t]));
    thetas.push(nextTopics(model, states[t + 1]));
  });
  return { words, states, thetas, posteriors, topics };
}

// p(topic) of the next places, one θ each.
function topicsAhead(model, state, steps) {
  const found = [nextTopics(model, state)];
  while (found.length < steps) {
    const input = mixRows(found[found.length - 1], model.topic_input, model.embeddingSize);
    state = lstmStep(model, input, state);
    found.push(nextTopics(model, state));
  }
  return found;
}

// What is expected where a topic begins a sequence.
function aheadOfTopic(model, topic, steps) {
  const input = rowOf(model.topic_input, topic, model.embeddingSize);
  return topicsAhead(model, lstmStep(model, input, beginState(model)), steps);
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

// p(word) of all words after `step` words of a reading.
function wordsAfter(model, reading, step) {
  const theta = reading.thetas[step];
  if (model.tau === null) return nextWords(model, theta);
  const urn = emptyUrn(model);
  for (let t = 0; t < step; t++) addToUrn(urn, reading.words[t], reading.topics[t]);
  const part = theta.map((value, k) => value / (urn.totals[k] + model.tau[k]));
  const words = nextWords(model, part.map((value, k) => value * model.tau[k]));
  for (const [word, counts] of urn.own) words[word] += dot(counts, part);
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
