"use strict";
// Parts, which several cameras may have photographed: a part is as its worst view is, by the thresholds as they are now.

const parts = new Map(); // name -> numbers of its views, by category

function startParts() {
  rows.group?.forEach((name, n) => {
    if (name === null) return;
    if (!parts.has(name)) parts.set(name, []);
    parts.get(name).push(n);
  });
  for (const views of parts.values()) views.sort((a, b) => rows.category[a] - rows.category[b] || a - b);
  document.body.classList.toggle("with-parts", parts.size > 0);
}

/** Return a part: its views, its score, whether it is anomalous, its worst view, and how many views were not scored. */
function partOf(name) {
  const views = parts.get(name);
  const scored = views.filter((n) => rows.status[n] === "scored");
  const verdicts = scored.map(isAnomalous);
  const worst = scored.reduce((a, b) => (a === null || rankKey(b) > rankKey(a) ? b : a), null);
  return {
    name,
    views,
    worst,
    lost: views.length - scored.length,
    score: worst === null ? null : scoreOf(worst),
    anomalous: verdicts.includes(true) || (verdicts.includes(false) ? false : null),
  };
}

function isOfAnomalousPart(n) {
  return rows.group[n] !== null && partOf(rows.group[n]).anomalous === true;
}

function isOfUnseenPart(n) {
  if (rows.group[n] === null) return false;
  const { anomalous, lost } = partOf(rows.group[n]);
  return lost > 0 && anomalous !== true;
}

/** The verdict on a part in words: what is not anomalous, but was not seen from all sides, is not called normal. */
function partVerdict({ anomalous, lost }) {
  if (anomalous) return "▲ anomalous";
  if (lost) return "not anomalous as far as it was seen";
  return anomalous === null ? "undecided" : "normal";
}

/** The name of a tile's part, and whether that is anomalous; nothing for images of no part. */
function partBadge(n) {
  if (!parts.size) return null;
  if (rows.group[n] === null) return el("span", { class: "name part" });
  const part = partOf(rows.group[n]);
  const title = `Part ${shown(part.name)}: ${partVerdict(part)}`;
  return el("span", { class: `name part ${part.anomalous ? "alarm" : "quiet"}`, title }, part.anomalous ? "▲ " : "", "part ", el("bdi", {}, shown(part.name)));
}

/** An image's part with all of its views, each by its category; the image itself is marked among them. */
function partSection(n) {
  if (rows.group[n] === null) return null;
  const part = partOf(rows.group[n]);
  const view = (of) => {
    const anomalous = isAnomalous(of);
    const scored = rows.status[of] === "scored";
    const name = shown(LAKESCORE.facts.categories[rows.category[of]].name);
    return el(
      "li",
      {},
      el(
        "a",
        { class: "view-of-part", href: `#image/${of}`, "aria-current": of === n ? "true" : null, title: `${name}: ${shown(rows.uri[of])}` },
        el("span", { class: "picture" }, ...pictures(of, scored)),
        scored ? el("span", { class: `line ${anomalous ? "alarm" : ""}` }, el("b", {}, anomalous ? "▲ " : "", figure(scoreOf(of)))) : el("span", { class: "line quiet" }, "quarantined"),
        el("span", { class: "name quiet" }, el("bdi", {}, tail(LAKESCORE.facts.categories[rows.category[of]].name))),
      ),
    );
  };
  return el(
    "section",
    { id: "part", "aria-labelledby": "part-title" },
    el("h2", { id: "part-title" }, "Part ", el("a", { href: "#images", click: () => showOnly({ text: part.name, order: "part" }) }, el("bdi", {}, shown(part.name)))),
    el(
      "p",
      {},
      el("b", { class: part.anomalous ? "alarm" : "" }, partVerdict(part)),
      part.score === null ? null : el("span", { class: "quiet" }, ` · ${figure(part.score)} times the threshold`),
      el("span", { class: "quiet" }, part.lost ? ` · ${count(part.lost)} of ${counted(part.views.length, "view")} could not be scored` : ` · ${counted(part.views.length, "view")}`),
    ),
    el("ul", { class: "views" }, ...part.views.map(view)),
  );
}

/** Go to the next view of the same part, or to the one before; behind the last comes the first. */
function goToView(places) {
  if (view() !== "image" || rows.group[shownImage] === null) return;
  const { views } = partOf(rows.group[shownImage]);
  location.hash = `#image/${views[(views.indexOf(shownImage) + places + views.length) % views.length]}`;
}

/** Images by part, the worst part first and its views side by side; then those of no part. */
function byPart() {
  const keys = new Map([...parts.keys()].map((name) => [name, partKey(name)]));
  const names = [...parts.keys()].sort((a, b) => keys.get(b) - keys.get(a) || (a < b ? -1 : 1));
  const others = inOrder("score").filter((n) => rows.group[n] === null);
  return [...names.flatMap((name) => parts.get(name)), ...others];
}

function partKey(name) {
  const { worst } = partOf(name);
  return worst === null ? -Infinity : rankKey(worst);
}
