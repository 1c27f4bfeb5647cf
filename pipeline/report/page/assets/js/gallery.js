"use strict";
// The list of images. Only the tiles on the screen and a few rows around them are in the document.

const AROUND = 2; // rows kept above and below the screen
const PRINTED = 60; // images on paper

const gallery = {
  listed: [], // numbers of the images that pass the filters, in order
  at: 0, // place of the current one
  first: -1,
  last: -1,
  overlay: false,
};

/** Show other images than before; the current one stays where it is still listed. */
function listImages(listed) {
  const current = gallery.listed[gallery.at];
  gallery.listed = listed;
  gallery.at = Math.max(0, listed.indexOf(current));
  gallery.first = -1;
  drawTiles();
}

function startGallery() {
  addEventListener("scroll", drawTiles, { passive: true });
  addEventListener("resize", () => ((gallery.first = -1), drawTiles()));
  addEventListener("beforeprint", () => drawTiles({ from: gallery.at, to: gallery.at + PRINTED }));
  addEventListener("afterprint", () => ((gallery.first = -1), drawTiles()));
  byId("tiles").addEventListener("focusin", (event) => {
    const place = event.target.closest("li")?.dataset.place;
    if (place !== undefined) setCurrent(Number(place));
  });
}

/** Put the tiles that can be seen into the document; or those of a range, which flow. */
function drawTiles(range) {
  const list = byId("tiles");
  if (byId("images").hidden || !list) return;
  const paper = range?.to !== undefined;
  list.classList.toggle("paper", paper);
  const { columns, height, width } = grid();
  const lines = Math.ceil(gallery.listed.length / columns);
  list.style.height = paper ? "auto" : `${lines * height}px`;
  const above = Math.max(0, -list.getBoundingClientRect().top);
  const line = Math.floor(above / height);
  const first = paper ? range.from : Math.max(0, line - AROUND) * columns;
  const last = paper ? range.to : (line + Math.ceil(innerHeight / height) + AROUND) * columns;
  const end = Math.min(gallery.listed.length, last);
  if (first === gallery.first && end === gallery.last) return;
  [gallery.first, gallery.last] = [first, end];
  const focused = list.contains(document.activeElement);
  const items = gallery.listed.slice(first, end).map((n, i) => {
    const place = first + i;
    const current = place === gallery.at;
    const attributes = { "data-place": place, "aria-setsize": gallery.listed.length, "aria-posinset": place + 1 };
    const item = el("li", attributes, tile(n, current ? "0" : "-1"));
    item.classList.toggle("current", current);
    if (!paper) {
      item.style.transform = `translate(${(place % columns) * width}px, ${Math.floor(place / columns) * height}px)`;
      item.style.width = `${width}px`;
      item.style.height = `${height}px`;
    }
    return item;
  });
  fill(list, ...items);
  if (!list.querySelector("[tabindex='0']")) list.querySelector("a")?.setAttribute("tabindex", "0");
  if (focused) tileAt(gallery.at)?.focus({ preventScroll: true });
}

/** How many tiles stand in a line, and the size of each with its gap. */
function grid() {
  const list = byId("tiles");
  const style = getComputedStyle(list);
  const least = parseFloat(style.getPropertyValue("--tile"));
  const columns = Math.max(1, Math.floor(list.clientWidth / least));
  const width = list.clientWidth / columns;
  return { columns, width, height: width + parseFloat(style.getPropertyValue("--caption")) };
}

/** One image of a list, as a link to its page. */
function tile(n, tabindex = "0") {
  const [name, folder] = ends(rows.uri[n]);
  const scored = rows.status[n] === "scored";
  const anomalous = isAnomalous(n);
  return el(
    "a",
    { class: `tile ${anomalous ? "anomalous" : ""}`, href: `#image/${n}`, tabindex, title: shown(rows.uri[n]), "data-n": n },
    el("span", { class: "picture" }, ...pictures(n, scored)),
    el("span", { class: "line" }, el("b", {}, scored ? figure(rows.score[n]) : "quarantined"), el("span", { class: "badges" }, ...badges(n, anomalous))),
    el("span", { class: "name" }, el("bdi", {}, name)),
    el("span", { class: "name quiet" }, scored ? `${figure(rows.score_raw[n])} · ${shown(LAKESCORE.facts.categories[rows.category[n]].name)}` : shown(rows.reason[n] ?? "")),
  );
}

function pictures(n, scored) {
  if (!rows.drawn[n]) return [el("span", { class: "absent" }, scored ? "not drawn" : "no picture")];
  const missing = (event) => event.target.replaceWith(el("span", { class: "absent" }, "picture is missing"));
  const thumb = el("img", { src: file("thumbs", n, "webp"), alt: "", decoding: "async", error: missing });
  const heat = gallery.overlay && el("img", { class: "heat", src: file("heat", n, "webp"), alt: "", decoding: "async" });
  return heat ? [thumb, heat] : [thumb];
}

/** What is said of an image in words and signs, not by colour alone. */
function badges(n, anomalous) {
  const label = labelOf(n);
  const marked = marks.has(rows.uri[n]);
  const found = [];
  if (anomalous) found.push(el("span", { class: "badge alarm" }, "▲ anomalous"));
  if (label !== null) {
    const wrong = anomalous !== null && anomalous !== label;
    const text = `${marked ? "✓ " : ""}${label ? "defect" : "normal"}`;
    found.push(el("span", { class: `badge ${wrong ? "wrong" : ""}`, title: wrong ? "the label says otherwise than the score" : null }, `${wrong ? "≠ " : ""}${text}`));
  }
  return found;
}

/** Make another image the current one; it is focused and brought onto the screen where `focus` is set. */
function setCurrent(place, focus = false) {
  if (!gallery.listed.length) return;
  const before = byId("tiles").querySelector(".current");
  before?.classList.remove("current");
  before?.querySelector("a").setAttribute("tabindex", "-1");
  gallery.at = Math.min(gallery.listed.length - 1, Math.max(0, place));
  if (focus) scrollToCurrent();
  const link = tileAt(gallery.at);
  link?.setAttribute("tabindex", "0");
  link?.parentElement.classList.add("current");
  if (focus) link?.focus({ preventScroll: true });
}

function scrollToCurrent() {
  const { columns, height } = grid();
  const covered = byId("filters").getBoundingClientRect().bottom > 0 ? stickyHeight() : 0;
  const top = byId("tiles").getBoundingClientRect().top + Math.floor(gallery.at / columns) * height;
  if (top < covered) scrollBy(0, top - covered - 8);
  else if (top + height > innerHeight) scrollBy(0, top + height - innerHeight + 8);
  drawTiles();
}

/** What sticks to the top of the screen hides what is below it. */
function stickyHeight() {
  const sticky = [...document.querySelectorAll("header, #filters")].filter((node) => getComputedStyle(node).position === "sticky");
  return Math.max(0, ...sticky.map((node) => node.getBoundingClientRect().bottom));
}

function tileAt(place) {
  return byId("tiles").querySelector(`li[data-place="${place}"] a`);
}

/** Images by an order's name; those without a score come last. */
function ordered(order) {
  const all = Array.from({ length: rows.count }, (_, n) => n);
  if (order === "name") return all.sort((a, b) => (rows.uri[a] < rows.uri[b] ? -1 : 1));
  const keys = all.map((n) => sortKey(order, n));
  return all.sort((a, b) => keys[b] - keys[a] || a - b);
}

function sortKey(order, n) {
  const raw = rows.score_raw[n];
  if (raw === null) return -Infinity;
  if (order === "threshold") {
    const threshold = decision.thresholds[rows.category[n]];
    return threshold === null ? -1e9 : -Math.abs(raw - threshold);
  }
  return rows[order][n] ?? -Infinity;
}
