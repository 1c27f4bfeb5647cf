"use strict";
// The first screen: the run in one line, counts that add up, categories, and what the run was made with.

const WORST = 12; // images below the categories

function showOverview() {
  const facts = LAKESCORE.facts;
  fill(
    byId("view-overview"),
    el("h1", { id: "overview-title", tabindex: "-1" }, headline(facts)),
    el("p", { class: "when" }, provenance(facts)),
    sums(facts),
    reasons(facts),
    categoriesTable(facts),
    partsTable(facts),
    decisions(facts),
    el("section", { "aria-labelledby": "worst-title" }, el("h2", { id: "worst-title" }, "Worst of each category"), el("ul", { id: "worst", class: "strip" })),
    madeWith(facts),
  );
}

function headline({ counts, categories }) {
  const some = categories.length === 1 ? "1 category" : `${count(categories.length)} categories`;
  const quarantined = counts.quarantined ? `, ${count(counts.quarantined)} could not be scored` : "";
  return `${count(counts.anomalous)} of ${counted(counts.scored, "scored image")} in ${some} ${counts.anomalous === 1 ? "is" : "are"} anomalous${quarantined}.`;
}

function provenance({ run_id, finished, seconds, encoder, layout }) {
  const total = seconds.reduce((sum, [, of]) => sum + of, 0);
  const parts = [`Run ${run_id}`, finished && `finished ${moment(finished)}`, total && `took ${duration(total)}`];
  return [...parts, encoder && `encoder ${shown(encoder)}`, layout && `layout ${layout}`].filter(Boolean).join(" · ");
}

/** Two equations, whose terms lead to the images that they count: as the run decided, wherever thresholds are now. */
function sums({ counts, categories }) {
  const undecided = counts.scored - categories.reduce((sum, of) => sum + (of.anomalous === null ? 0 : of.scored), 0);
  const normal = counts.scored - counts.anomalous - undecided;
  const term = (number, what, show) => el("a", { class: `term ${show}`, href: "#images", click: () => (startDecision(), showOnly({ show })) }, el("b", {}, count(number)), ` ${what}`);
  const sign = (text) => el("span", { class: "sign" }, text);
  return el(
    "div",
    { class: "sums" },
    el("p", {}, term(counts.images, "images", "all"), sign("="), term(counts.scored, "scored", "scored"), sign("+"), term(counts.quarantined, "quarantined", "quarantined")),
    el(
      "p",
      {},
      term(counts.scored, "scored", "scored"), sign("="), term(counts.anomalous, "anomalous", "anomalous"), sign("+"), term(normal, "normal", "normal"),
      ...(undecided ? [sign("+"), term(undecided, "undecided", "undecided")] : []),
    ),
  );
}

function reasons({ reasons: found, counts }) {
  const parts = found.map(([reason, number]) => `${count(number)} ${shown(reason).replaceAll("_", " ")}`);
  const sentences = parts.length ? [`Quarantined: ${parts.join(", ")}.`] : [];
  if (counts.carried) sentences.push(`${counted(counts.carried, "image")} of earlier runs kept their scores.`);
  return sentences.length ? el("p", { class: "reasons" }, sentences.join(" ")) : null;
}

function categoriesTable(facts) {
  const names = facts.metrics.filter(([name]) => facts.categories.some((category) => category.metrics?.[name]?.value != null));
  const number = (text, label) => el("td", { class: "number", role: "cell", "data-label": label }, text);
  const metric = (of, [name, heading]) => {
    const found = of?.[name];
    const cell = number(found?.value == null ? DASH : (100 * found.value).toFixed(1), heading);
    const why = found?.reason ?? (found?.error == null ? null : `at most ${(100 * found.error).toPrecision(2)} points off`);
    if (why) cell.title = why;
    return cell;
  };
  const row = (category, place) => el(
    "tr",
    { role: "row" },
    el("th", { scope: "row", role: "rowheader" }, el("a", { href: "#images", click: () => showOnly({ category: place }) }, shown(category.name)), driftNote(category)),
    number(count(category.images), "images"),
    number(count(category.scored), "scored"),
    number(count(category.anomalous), "anomalous"),
    number(count(category.quarantined), "quarantined"),
    number(figure(category.threshold), "threshold"),
    el("td", { class: "spread", role: "cell" }, spread(category)),
    ...names.map((name) => metric(category.metrics, name)),
  );
  const sum = (name) => facts.categories.reduce((total, category) => total + (category[name] ?? 0), 0);
  const total = facts.categories.length > 1 && el(
    "tr",
    { role: "row", class: "total" },
    el("th", { scope: "row", role: "rowheader" }, "all"),
    ...["images", "scored", "anomalous", "quarantined"].map((name) => number(count(sum(name)), name)),
    el("td", { role: "cell", class: "empty" }),
    el("td", { role: "cell", class: "empty" }),
    ...names.map((name) => metric(facts.mean, name)),
  );
  const heading = (text, title) => el("th", { scope: "col", role: "columnheader", title }, text);
  return el(
    "section",
    { "aria-labelledby": "categories-title" },
    el("h2", { id: "categories-title" }, "Categories"),
    el(
      "table",
      { class: "categories", role: "table" },
      el("thead", { role: "rowgroup" }, el(
        "tr",
        { role: "row" },
        ...["category", "images", "scored", "anomalous", "quarantined", "threshold"].map((text) => heading(text)),
        heading("distribution of score_raw"),
        ...names.map(([name, text]) => heading(text, name)),
      )),
      el("tbody", { role: "rowgroup" }, ...facts.categories.map(row), total || null),
    ),
    legend(facts, names.length > 0),
  );
}

/** The parts of each product, where images are views of parts. */
function partsTable({ products, parts: all, part_metrics: measured }) {
  if (!products.length) return null;
  const names = measured.filter(([name]) => products.some((of) => of.metrics[name]?.value != null));
  const number = (text, label, title) => el("td", { class: "number", role: "cell", "data-label": label, title }, text);
  const metric = (of, [name, heading]) => number(of.metrics[name]?.value == null ? DASH : (100 * of.metrics[name].value).toFixed(1), heading, of.metrics[name]?.reason);
  const cells = (of) => [number(count(of.parts), "parts"), number(count(of.anomalous), "anomalous"), number(count(of.incomplete), "not all seen"), ...names.map((name) => metric(of, name))];
  const row = (of) => el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, shown(of.name)), ...cells(of));
  const total = products.length > 1 && el("tr", { role: "row", class: "total" }, el("th", { scope: "row", role: "rowheader" }, "all"), ...cells(all));
  const heading = (text, title) => el("th", { scope: "col", role: "columnheader", title }, text);
  const lead = (text, chosen) => el("a", { href: "#images", click: () => showOnly(chosen) }, text);
  return el(
    "section",
    { "aria-labelledby": "parts-title" },
    el("h2", { id: "parts-title" }, "Parts"),
    el(
      "table",
      { class: "products", role: "table" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...["product", "parts", "anomalous", "not all seen"].map((text) => heading(text)), ...names.map(([name, text]) => heading(text, name)))),
      el("tbody", { role: "rowgroup" }, ...products.map(row), total || null),
    ),
    el(
      "p",
      { class: "quiet" },
      "A part is as its worst view is, in whichever category. Show ",
      lead("the views of anomalous parts", { show: "parts", order: "part" }),
      ...(all.incomplete ? [", or of the ", lead(`${counted(all.incomplete, "part")} that ${all.incomplete === 1 ? "is" : "are"} not anomalous, but of which a view could not be scored`, { show: "unseen", order: "part" })] : []),
      ".",
    ),
  );
}

/** How the threshold of each category was found, and how sure that is. */
function decisions({ categories }) {
  const lines = categories.filter((category) => category.decision).map(({ name, decision }) => {
    const { rule, threshold, low, high, false_alarms, recall, unsure, clear } = decision;
    const parts = [`${shown(name)}: ${rule}, threshold ${figure(threshold)}`];
    if (low !== null) parts.push(`between ${figure(low)} and ${figure(high)} in 9 of 10 draws, ${counted(unsure, "image")} between them`);
    if (false_alarms !== null) parts.push(`about ${figure(100 * false_alarms, 2)} % of normal images are expected above it`);
    if (recall !== null) parts.push(`${figure(100 * recall, 2)} % of the labelled defects were found by the other labels`);
    if (clear === false) parts.push("no gap: trust the order of the images more than the line");
    return el("li", {}, `${parts.join("; ")}.`);
  });
  return lines.length ? el("details", { class: "decisions" }, el("summary", {}, "How anomalous images were told from normal ones"), el("ul", {}, ...lines)) : null;
}

function spread(category) {
  const { histogram: found, threshold } = category;
  if (!found) return el("span", { class: "quiet" }, "nothing was scored");
  const label = `score_raw of ${shown(category.name)} from ${figure(found.edges[0])} to ${figure(found.edges.at(-1))}, threshold ${figure(threshold)}`;
  return el(
    "div",
    { class: "axis" },
    histogram(found, threshold, label),
    el("span", {}, figure(found.edges[0], 2)),
    el("span", {}, figure(found.edges.at(-1), 2)),
  );
}

function driftNote({ drift }) {
  const moved = drift.filter((of) => of.drifted);
  if (!moved.length) return null;
  const text = moved.map((of) => `${of.quantity} ${of.before.toPrecision(3)} → ${of.now.toPrecision(3)}`).join(", ");
  return el("span", { class: "drift" }, `drifted: ${text}`);
}

function legend(facts, measured) {
  const earlier = facts.categories.some((category) => category.histogram?.window);
  const parts = ["Bars: this run, those above the threshold in colour."];
  if (earlier) parts.push("Line: the window of earlier runs.");
  parts.push("Heights are square roots of shares, so that single images can be seen.");
  parts.push(measured ? "Metrics in percent, against the labels of the lake; below, their mean." : noMetrics(facts));
  return el("p", { class: "quiet" }, parts.join(" "));
}

function noMetrics(facts) {
  if (facts.categories.every((category) => category.metrics === null)) return "No metrics: this run scored no image with a label.";
  const why = new Set(facts.categories.flatMap((category) => Object.values(category.metrics ?? {}).map((metric) => metric.reason)).filter(Boolean));
  return why.size === 1 ? `No metrics: ${[...why][0]}.` : "No metrics: the lake has no labels.";
}

/** The worst images, once all are known: as many of each category. */
function showWorst() {
  const each = Math.max(1, Math.floor(WORST / LAKESCORE.facts.categories.length));
  const left = LAKESCORE.facts.categories.map(() => each);
  const worst = ordered("score").filter((n) => rows.score_raw[n] !== null && !isCarried(n) && left[rows.category[n]]-- > 0).slice(0, 2 * WORST);
  if (LAKESCORE.facts.counts.carried) byId("worst-title").textContent = "Worst of each category, of the images that this run scored";
  byId("worst").parentElement.hidden = !worst.length;
  fill(byId("worst"), ...worst.map((n) => el("li", {}, tile(n))));
}

function madeWith(facts) {
  const list = (pairs) => el("dl", { class: "settings" }, ...pairs.flatMap(([name, value]) => [
    el("dt", {}, shown(name)),
    el("dd", {}, typeof value === "string" ? shown(value) : shown(JSON.stringify(value))),
  ]));
  return el(
    "details",
    { class: "made" },
    el("summary", {}, "Settings, versions and times"),
    el("h3", {}, "Settings"),
    list(facts.settings),
    el("h3", {}, "Seconds"),
    list(facts.seconds),
    el("h3", {}, "Versions"),
    list(facts.versions),
  );
}
