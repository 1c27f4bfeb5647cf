"use strict";
// The page of one image: the stage, what was found about it, and the evidence.

let shownImage = null; // its number

function showImage(n) {
  shownImage = n;
  const place = gallery.listed.indexOf(n);
  if (place >= 0) gallery.at = place;
  fill(
    byId("view-image"),
    el(
      "div",
      { class: "bar" },
      el("a", { href: "#images", id: "back" }, "← Images"),
      step(n, -1, "previous", "‹ previous"),
      step(n, 1, "next", "next ›"),
      el("span", { class: "quiet" }, place < 0 ? "not in the list" : `${count(place + 1)} of ${count(gallery.listed.length)}`),
    ),
    el("h1", { id: "image-title", tabindex: "-1" }, el("bdi", {}, tail(rows.uri[n], 2))),
    el("p", { class: "uri" }, shown(rows.uri[n])),
    el("div", { class: "bench" }, el("div", { class: "view" }, buildStage(n), rows.drawn[n] ? layers(n) : null), el("div", {}, findings(n), partSection(n), el("section", { id: "evidence", "aria-label": "Evidence" }))),
  );
  showLayers();
  if (byId("stage").querySelector("#sheet")) fit(n);
  loadDetail(n).then(
    (detail) => {
      if (shownImage !== n) return; // somebody went on meanwhile
      useTiles(n, detail?.tiles);
      drawOutlines(n, detail);
      showLayerChoices(detail);
      showEvidence(n, detail);
    },
    (error) => shownImage === n && fill(byId("evidence"), el("p", { role: "alert" }, error.message)),
  );
  for (const places of [-1, 1]) preload(neighbour(n, places));
}

/** The image so many places further in the list; from one that is not in it, as from the one that was left. */
function neighbour(n, places) {
  const place = gallery.listed.indexOf(n);
  return gallery.listed[(place >= 0 ? place : gallery.at) + places];
}

function step(n, places, id, text) {
  const to = neighbour(n, places);
  return to === undefined ? el("span", { id, class: "off" }, text) : el("a", { id, href: `#image/${to}` }, text);
}

/** Have the neighbours at hand before they are asked for. */
function preload(n) {
  if (n !== undefined && rows.drawn[n]) new Image().src = file("images", n, "webp");
}

function layers(n) {
  const layer = (name, text) => el(
    "label",
    { class: "check", hidden: name === "ignored" },
    el("input", { id: `layer-${name}`, type: "checkbox", input: () => toggleLayer(name) }),
    el("span", { class: `swatch ${name}`, "aria-hidden": "true" }),
    text,
  );
  return el(
    "div",
    { class: "layers" },
    layer("overlay", "heat map"),
    el("label", { class: "check" }, "opacity ", el("input", {
      id: "opacity", type: "range", min: "0", max: "1", step: "0.01", value: stage.opacity,
      input: (event) => ((stage.opacity = Number(event.target.value)), showLayers()),
    })),
    layer("contour", "pixel threshold"),
    layer("truth", "ground truth"),
    layer("worst", "worst patch"),
    layer("ignored", "not looked at"),
    el(
      "span",
      { class: "zooms" },
      el("button", { type: "button", "aria-label": "Zoom out", click: () => zoomBy(1 / 1.5) }, "−"),
      el("output", { id: "zoom", "aria-label": "Zoom" }, "1.0×"),
      el("button", { type: "button", "aria-label": "Zoom in", click: () => zoomBy(1.5) }, "+"),
      el("button", { type: "button", click: resetZoom }, "fit"),
    ),
    colourScale(LAKESCORE.facts.categories[rows.category[n]]),
  );
}

/** Layers that this image has nothing for cannot be switched. */
function showLayerChoices(detail) {
  const has = { contour: detail?.contour?.length, truth: detail?.truth?.length, worst: detail?.worst };
  const ignored = byId("layer-ignored")?.closest("label");
  if (ignored) ignored.hidden = !detail?.seen; // as in most lakes
  for (const [name, any] of Object.entries(has)) if (byId(`layer-${name}`)) byId(`layer-${name}`).disabled = !any;
}

/** The colours of the heat map, with the distances that they stand for: the same for all images of the category. */
function colourScale(category) {
  const { colours } = LAKESCORE.facts;
  if (!category.scale || !colours.length) return null;
  const [low, high] = category.scale;
  const stops = colours.map((colour, i) => svg("stop", { offset: i / (colours.length - 1 || 1), "stop-color": colour }));
  const at = (category.pixel_threshold - low) / (high - low);
  const mark = category.pixel_threshold !== null && at >= 0 && at <= 1;
  return el(
    "div",
    { class: "colours" },
    el("span", {}, figure(low)),
    svg(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": `Colours from distance ${figure(low)} to ${figure(high)}` },
      svg("defs", {}, svg("linearGradient", { id: "ramp" }, ...stops)),
      svg("rect", { width: 100, height: 10, fill: "url(#ramp)" }),
      mark ? svg("path", { class: "cut", d: `M${100 * at},0V10` }) : null,
    ),
    el("span", {}, figure(high)),
    el("span", { class: "quiet" }, `distance, one scale for ${shown(category.name)}`),
  );
}

function findings(n) {
  const category = LAKESCORE.facts.categories[rows.category[n]];
  const anomalous = isAnomalous(n);
  const verdict = rows.status[n] !== "scored" ? "quarantined" : anomalous === null ? "undecided" : anomalous ? "▲ anomalous" : "normal";
  const threshold = thresholdOf(n);
  const label = labelOf(n);
  const known = label === null ? "none" : `${label ? "defect" : "normal"}${marks.has(rows.uri[n]) ? ", marked here" : ""}`;
  const facts = [
    ["category", shown(category.name)],
    ["score", scoreOf(n) === null ? DASH : `${figure(scoreOf(n), 3)} times the threshold`],
    ["rank", rankOf(n)],
    ["score_raw", figure(rows.score_raw[n], 4)],
    ["standard error", figure(rows.stderr[n], 4)],
    ["threshold", threshold === null ? DASH : figure(threshold, 4) + (decision.moved[rows.category[n]] ? " (moved here)" : "")],
    ["scored by", isCarried(n) ? `run ${shown(rows.scored_by[n])}` : null],
    ["compared with", rows.references[n] === null ? DASH : counted(rows.references[n], "image")],
    ["label", `${isWrong(n) ? "≠ " : ""}${known}`],
    ["size", rows.width[n] === null ? DASH : `${rows.width[n]} × ${rows.height[n]}`],
  ];
  if (rows.reason[n] !== null) facts.push(["reason", shown(rows.reason[n])], ["detail", shown(rows.detail[n] ?? "")]);
  return el(
    "section",
    { class: "findings", "aria-label": "Findings" },
    el("p", { class: `verdict ${anomalous ? "alarm" : ""}` }, verdict),
    el("dl", {}, ...facts.filter(([, value]) => value !== null).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    marking(n),
  );
}

/** Where the image stands among the scored ones of its category, 1 for the worst. */
function rankOf(n) {
  if (rows.score_raw[n] === null) return DASH;
  let [above, all] = [0, 0];
  for (let other = 0; other < rows.count; other++) {
    if (rows.category[other] !== rows.category[n] || rows.score_raw[other] === null) continue;
    all++;
    if (rankKey(other) > rankKey(n)) above++;
  }
  return `${count(above + 1)} of ${count(all)}`;
}

function marking(n) {
  const now = marks.get(rows.uri[n]) ?? null;
  const button = (label, text) => el(
    "button",
    { type: "button", "aria-pressed": String(now === label), "data-mark": label ?? "none", click: () => markHere(n, now === label ? null : label) },
    text,
  );
  return el(
    "div",
    { class: "marking", role: "group", "aria-label": "Your mark" },
    button("normal", "normal  (n)"),
    button("defect", "defect  (d)"),
  );
}

function markHere(n, label) {
  mark(n, label);
  document.querySelector(".findings").replaceWith(findings(n));
  document.querySelector(`[data-mark="${label ?? "normal"}"]`).focus();
}

/** How a score comes from distances to references, some of which are shown. */
function averaged(n) {
  const setting = (name) => LAKESCORE.facts.settings.find(([other]) => other === name)?.[1];
  const shown = `Below, distances to the nearest of ${counted(rows.references[n], "reference")}`;
  const preset = setting("method.preset") ?? "paper";
  if (preset === "subspace") return `${shown}. A patch's score is not made of them: it is what the components of its category leave of it.`;
  if (preset === "paper") {
    const interval = setting("method.interval");
    const share = interval === undefined ? "" : `${Math.round(100 * interval)} % `;
    return `${shown}. A patch's score is the mean of the lowest ${share}of all: a few near ones do not make it normal.`;
  }
  return `${shown}, anomalous ones left out. A patch's score is a mean of the lowest distances to all images, and to those that are likely to be normal.`;
}

function showEvidence(n, detail) {
  const evidence = detail?.evidence;
  if (!evidence?.worst?.length) return fill(byId("evidence"), el("p", { class: "quiet" }, "No evidence was kept for this image."));
  fill(
    byId("evidence"),
    el("p", { class: "quiet" }, averaged(n)),
    row("Worst patch and its nearest references", evidence.patch, evidence.worst, n),
    row("Most normal patch, likewise", evidence.normal_patch, evidence.normal, n),
  );

  function row(title, own, others, n) {
    if (!others?.length) return null;
    return el(
      "div",
      { class: "patches" },
      el("h2", {}, title),
      el("ul", {}, crop(n, own, "this image", null), ...others.map((of) => crop(of.n, of.crop, figure(of.distance), of.uri))),
    );
  }

  function crop(to, source, text, uri) {
    const inside = [
      source ? el("img", { src: source, alt: "", width: "96", height: "96" }) : el("span", { class: "absent" }, "no crop"),
      el("span", { class: "line" }, text),
      uri === null ? null : el("span", { class: "name quiet" }, el("bdi", {}, tail(uri, 2))),
    ];
    const title = uri === null ? null : shown(uri);
    const leads = uri !== null && to !== null && to !== undefined;
    return el("li", { class: uri === null ? "own" : "" }, leads ? el("a", { href: `#image/${to}`, title }, ...inside) : el("span", { title }, ...inside));
  }
}
