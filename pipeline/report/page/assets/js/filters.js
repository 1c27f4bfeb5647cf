"use strict";
// What the list shows, and the threshold that can be moved above it.

const BINS = 80; // of the distribution above the slider
const LARGEST = 2; // distance: no threshold is above it

const EVERYTHING = { category: null, show: "all", label: "any", wrong: false, fresh: false, text: "" };
const filter = { ...EVERYTHING, order: null }; // the run's own, once it is known

const SHOW = {
  all: ["all", () => true],
  anomalous: ["anomalous", (n) => isAnomalous(n) === true],
  normal: ["normal", (n) => isAnomalous(n) === false],
  undecided: ["undecided", (n) => rows.status[n] === "scored" && isAnomalous(n) === null],
  scored: ["scored", (n) => rows.status[n] === "scored"],
  quarantined: ["quarantined", (n) => rows.status[n] !== "scored"],
  parts: ["views of anomalous parts", isOfAnomalousPart],
  unseen: ["views of parts that were not all seen", isOfUnseenPart],
};
const LABELS = {
  any: ["any", () => true],
  defect: ["defect", (n) => labelOf(n) === true],
  normal: ["normal", (n) => labelOf(n) === false],
  none: ["none", (n) => labelOf(n) === null],
  marked: ["marked here", (n) => marks.has(rows.uri[n])],
};
const ORDERS = {
  score: "score, worst first",
  score_raw: "score_raw, worst first",
  threshold: "nearest to the threshold",
  stderr: "standard error, largest first",
  name: "name",
  part: "part, worst first",
};

const OF_PARTS = ["parts", "unseen", "part"]; // choices for lakes that have any

/** Have filters and thresholds survive a reload of this tab. */
function startKeeping() {
  filter.order = "score";
  addEventListener("pagehide", () => {
    const thresholds = decision.thresholds.map((value, category) => (decision.moved[category] ? value : null));
    remember(runKey(), JSON.stringify({ filter, thresholds }), "sessionStorage");
  });
  const kept = JSON.parse(remembered(runKey(), "sessionStorage") ?? "{}");
  if (kept.thresholds?.length !== decision.thresholds.length) return; // nothing, or of a page that was drawn otherwise
  Object.assign(filter, kept.filter);
  kept.thresholds.forEach((value, category) => value !== null && moveThreshold(category, value));
}

function startImages() {
  const names = LAKESCORE.facts.categories.map((category, place) => [String(place), shown(category.name)]);
  const pairs = (choices) => Object.entries(choices).filter(([value]) => parts.size || !OF_PARTS.includes(value)).map(([value, text]) => [value, Array.isArray(text) ? text[0] : text]);
  fill(
    byId("view-images"),
    el("h1", { id: "images-title", class: "unseen", tabindex: "-1" }, "Images"),
    el(
      "form",
      { id: "filters", "aria-label": "Filters", submit: (event) => event.preventDefault() },
      field("find", "Find", el("input", { id: "find", type: "search", placeholder: "part of a name  ( / )", autocomplete: "off", spellcheck: "false" })),
      choice("category", "Category", [["", "all"], ...names]),
      choice("show", "Show", pairs(SHOW)),
      choice("label", "Label", pairs(LABELS)),
      choice("order", "Order", pairs(ORDERS)),
      el("label", { class: "check" }, el("input", { id: "wrong", type: "checkbox" }), " wrong against label"),
      LAKESCORE.facts.counts.carried ? el("label", { class: "check" }, el("input", { id: "fresh", type: "checkbox" }), " of this run only") : null,
      el("label", { class: "check" }, el("input", { id: "heats", type: "checkbox", input: toggleTiles }), " heat maps"),
      el("button", { id: "reset", type: "button", click: () => showOnly({}) }, "Reset"),
    ),
    el("section", { id: "cut", "aria-label": "Threshold" }),
    el("p", { id: "found", role: "status" }),
    el("ul", { id: "tiles", "aria-label": "Images" }),
  );
  showFilters();
  byId("filters").addEventListener("input", readFilters);
  startThreshold();
  startGallery();
  refresh();
}

function field(id, text, control) {
  return el("div", { class: "field" }, el("label", { for: id }, text), control);
}

function choice(id, text, pairs) {
  return field(id, text, el("select", { id }, ...pairs.map(([value, name]) => el("option", { value }, name))));
}

/** Forget all filters but these. */
function showOnly(chosen) {
  Object.assign(filter, EVERYTHING, chosen);
  if (!byId("filters")) return; // the images are still being read
  showFilters();
  gallery.at = 0;
  scrollTo(0, 0);
  refresh();
}

function showFilters() {
  byId("category").value = filter.category ?? "";
  for (const name of ["show", "label", "order"]) byId(name).value = filter[name];
  byId("find").value = filter.text;
  for (const name of ["wrong", "fresh"]) if (byId(name)) byId(name).checked = filter[name];
}

function readFilters() {
  const category = byId("category").value;
  filter.category = category === "" ? null : Number(category);
  for (const name of ["show", "label", "order"]) filter[name] = byId(name).value;
  filter.text = byId("find").value;
  for (const name of ["wrong", "fresh"]) filter[name] = byId(name)?.checked ?? false;
  refresh();
}

/** Show what the filters, thresholds and marks now ask for. */
function refresh() {
  const text = filter.text.toLowerCase();
  const passes = (n) =>
    (filter.category === null || rows.category[n] === filter.category) &&
    SHOW[filter.show][1](n) &&
    LABELS[filter.label][1](n) &&
    (!filter.wrong || isWrong(n)) &&
    (!filter.fresh || !isCarried(n)) &&
    (!text || rows.uri[n].toLowerCase().includes(text) || (rows.group[n]?.toLowerCase().includes(text) ?? false));
  listImages(ordered(filter.order).filter(passes));
  byId("found").textContent = gallery.listed.length === rows.count ? `${counted(rows.count, "image")}` : `${count(gallery.listed.length)} of ${counted(rows.count, "image")}${gallery.listed.length ? "" : ": none fits all of these filters"}`;
  showThreshold();
}

// The slider stands for one category's threshold, or for all of them, as a multiple of what the run found.

const mixed = new Set(); // categories with images that earlier runs decided about, by thresholds of their own

function startThreshold() {
  for (let n = 0; n < rows.count; n++) if (isCarried(n)) mixed.add(rows.category[n]);
  fill(
    byId("cut"),
    el("div", { class: "scale" }, el("div", { id: "cut-histogram" }), el("input", { id: "threshold", type: "range", step: "any", "aria-label": "Threshold" })),
    el(
      "div",
      { class: "readings" },
      el("output", { id: "reading", for: "threshold" }),
      el("output", { id: "agreement", for: "threshold" }),
      el("details", { id: "keep", hidden: true }, el("summary", {}, "Settings that keep these thresholds"), el("code", {})),
    ),
    el("button", { id: "as-run", type: "button", click: () => (startDecision(), refresh()) }, "As in the run"),
  );
  byId("threshold").addEventListener("input", (event) => {
    const value = Number(event.target.value);
    for (const category of chosenCategories()) {
      const found = LAKESCORE.facts.categories[category].threshold;
      if (filter.category !== null) moveThreshold(category, value);
      else if (found !== null) moveThreshold(category, Math.min(LARGEST, value * found));
    }
    refresh();
  });
}

function chosenCategories() {
  return filter.category === null ? [...LAKESCORE.facts.categories.keys()] : [filter.category];
}

function showThreshold() {
  const one = filter.category === null ? null : LAKESCORE.facts.categories[filter.category];
  const values = cutValues();
  const slider = byId("threshold");
  byId("cut").hidden = !values.length;
  if (!values.length) return;
  const at = one ? decision.thresholds[filter.category] : commonFactor();
  const base = one ? one.threshold : 1;
  const low = values.reduce((a, b) => Math.min(a, b), base ?? Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), base ?? -Infinity);
  const margin = (high - low || high || 1) * 0.01;
  slider.min = Math.max(0, low - margin);
  slider.max = high + margin;
  slider.value = at ?? slider.max;
  slider.setAttribute("aria-valuetext", one ? figure(at, 4) : at === null ? "several" : `${figure(at)} times the run's`);
  const drawn = binned(values, Number(slider.min), Number(slider.max), BINS);
  fill(byId("cut-histogram"), histogram(drawn, at, one ? "score_raw of this category" : "score_raw as a multiple of its category's threshold"));
  const found = tally(filter.category);
  const chosen = chosenCategories();
  const nights = chosen.some((place) => mixed.has(place)) && !chosen.some((place) => decision.moved[place]);
  const what = nights ? "above the threshold of the run that scored it" : one ? `score_raw above ${figure(at, 4)}` : at === null ? "thresholds of their own" : `score_raw above ${figure(at)} × its category's threshold`;
  fill(byId("reading"), el("b", {}, count(found.anomalous)), ` anomalous of ${count(found.scored)} scored`, el("span", { class: "quiet" }, ` · ${what}`));
  fill(byId("agreement"), ...agreement(found));
  const moved = decision.moved.some(Boolean);
  byId("as-run").disabled = !moved;
  byId("keep").hidden = !moved;
  byId("keep").querySelector("code").textContent = moved ? keepText() : "";
}

/** What the slider moves over: scores, or their multiples of their thresholds. */
function cutValues() {
  const values = [];
  for (let n = 0; n < rows.count; n++) {
    const category = rows.category[n];
    const raw = rows.score_raw[n];
    if (raw === null || (filter.category !== null && category !== filter.category)) continue;
    const threshold = LAKESCORE.facts.categories[category].threshold;
    if (filter.category !== null) values.push(raw);
    else if (threshold) values.push(raw / threshold);
  }
  return values;
}

/** How much all thresholds were moved, or null where they were not moved alike. */
function commonFactor() {
  const factors = LAKESCORE.facts.categories.map(({ threshold }, place) => threshold && decision.thresholds[place] / threshold).filter(Boolean);
  return factors.every((factor) => Math.abs(factor - factors[0]) < 1e-9) ? (factors[0] ?? null) : null;
}

function agreement(found) {
  if (!found.labelled) return [el("span", { class: "quiet" }, "No labels here: mark images to see precision and recall.")];
  return [
    "precision ", el("b", {}, percent(found.precision)), " · recall ", el("b", {}, percent(found.recall)),
    el("span", { class: "quiet" }, ` · ${counted(found.labelled, "label")}: ${count(found.hits)} found, ${count(found.misses)} missed, ${counted(found.alarms, "false alarm")}`),
  ];
}

/** The settings that make the next run decide so: of all categories, since the rule `fixed` is one for all. */
function keepText() {
  const scores = LAKESCORE.facts.categories.map(() => []);
  rows.score_raw.forEach((raw, n) => raw !== null && scores[rows.category[n]].push(raw));
  const values = LAKESCORE.facts.categories.flatMap(({ name }, place) => {
    const threshold = decision.thresholds[place];
    if (threshold === null) return [];
    return [`${JSON.stringify(name)}: ${decision.moved[place] ? shortest(threshold, scores[place]) : threshold}`];
  });
  return `decision: {image: {rule: fixed, categories: {${values.join(", ")}}}}`;
}

/** The figure of fewest digits that decides about scores as a threshold does. */
function shortest(threshold, scores) {
  for (let digits = 3; digits < 17; digits++) {
    const rounded = Number(threshold.toPrecision(digits));
    if (scores.every((raw) => raw > rounded === raw > threshold)) return rounded;
  }
  return threshold;
}
