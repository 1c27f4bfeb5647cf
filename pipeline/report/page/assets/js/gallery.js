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
  paper: false, // whether it is being printed
};

/** Show other images than before; the current one stays, or where it is gone, its place. */
function listImages(listed) {
  const current = gallery.listed[gallery.at];
  gallery.listed = listed;
  const place = listed.indexOf(current);
  gallery.at = place >= 0 ? place : Math.max(0, Math.min(gallery.at, listed.length - 1));
  gallery.first = -1;
  drawTiles();
}

function startGallery() {
  addEventListener("scroll", drawTiles, { passive: true });
  addEventListener("resize", () => ((gallery.first = -1), drawTiles()));
  addEventListener("beforeprint", () => ((gallery.paper = true), drawTiles()));
  addEventListener("afterprint", () => ((gallery.paper = false), (gallery.first = -1), drawTiles()));
  byId("tiles").addEventListener("focusin", (event) => {
    const place = event.target.closest("li")?.dataset.place;
    if (place !== undefined) setCurrent(Number(place));
  });
}

/** Put the tiles that can be seen into the document; on paper some from the current one on, which flow. */
function drawTiles() {
  const list = byId("tiles");
  if (!list || byId("view-images").hidden) return;
  const { paper } = gallery;
  const { columns, height, width } = grid();
  const line = Math.floor(Math.max(0, -list.getBoundingClientRect().top) / height);
  const first = paper ? gallery.at : Math.max(0, line - AROUND) * columns;
  const last = paper ? gallery.at + PRINTED : (line + Math.ceil(innerHeight / height) + AROUND) * columns;
  const end = Math.min(gallery.listed.length, last);
  const fresh = gallery.first < 0 || paper; // what is in the document is of no use
  if (!fresh && first === gallery.first && end === gallery.last) return;
  [gallery.first, gallery.last] = [paper ? -1 : first, end];
  list.classList.toggle("paper", paper);
  list.style.height = paper ? "auto" : `${Math.ceil(gallery.listed.length / columns) * height}px`;
  const focused = list.contains(document.activeElement);
  const kept = new Map(fresh ? [] : [...list.children].map((item) => [Number(item.dataset.place), item]));
  const items = [];
  for (let place = first; place < end; place++) {
    if (!kept.has(place)) kept.set(place, listItem(place, paper ? null : { columns, height, width }));
    items.push(kept.get(place));
  }
  if (fresh) fill(list, ...items);
  else {
    for (const [place, item] of kept) if (place < first || place >= end) item.remove();
    items.forEach((item, i) => item.parentNode ?? list.insertBefore(item, list.children[i] ?? null));
  }
  if (!list.querySelector("[tabindex='0']")) list.querySelector("a")?.setAttribute("tabindex", "0");
  if (focused && !list.contains(document.activeElement)) tileAt(gallery.at)?.focus({ preventScroll: true });
}

function listItem(place, at) {
  const current = place === gallery.at;
  const attributes = { "data-place": place, "aria-setsize": gallery.listed.length, "aria-posinset": place + 1 };
  const item = el("li", attributes, tile(gallery.listed[place], current ? "0" : "-1"));
  item.classList.toggle("current", current);
  if (at) {
    item.style.transform = `translate(${(place % at.columns) * at.width}px, ${Math.floor(place / at.columns) * at.height}px)`;
    item.style.width = `${at.width}px`;
    item.style.height = `${at.height}px`;
  }
  return item;
}

/** Show heat maps in the list, or no more. */
function toggleTiles() {
  gallery.overlay = !gallery.overlay;
  byId("heats").checked = gallery.overlay;
  gallery.first = -1;
  drawTiles();
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
  const scored = rows.status[n] === "scored";
  const anomalous = isAnomalous(n);
  return el(
    "a",
    { class: `tile ${anomalous ? "anomalous" : ""}`, href: `#image/${n}`, tabindex, title: shown(rows.uri[n]), "data-n": n },
    el("span", { class: "picture" }, ...pictures(n, scored)),
    el(
      "span",
      { class: "line" },
      el("b", {}, scored ? figure(scoreOf(n)) : "quarantined"),
      el("span", { class: "name quiet" }, shown(LAKESCORE.facts.categories[rows.category[n]].name)),
      scored ? el("span", { class: "quiet other" }, `raw ${figure(rows.score_raw[n])}`) : null,
    ),
    el("span", { class: "name" }, el("bdi", {}, tail(rows.uri[n], 2))),
    partBadge(n),
    el("span", { class: "line quiet" }, anomalous ? anomalyBadge() : el("span", { class: "name" }, shown(rows.reason[n] ?? "")), labelBadge(n, anomalous)),
  );
}

function anomalyBadge() {
  return el("span", { class: "badge alarm" }, "▲", el("span", { class: "word" }, " anomalous"));
}

function pictures(n, scored) {
  if (!rows.drawn[n]) return [el("span", { class: "absent" }, scored ? "not drawn" : "no picture")];
  const missing = (event) => event.target.replaceWith(el("span", { class: "absent" }, "picture is missing"));
  const thumb = el("img", { src: file("thumbs", n, "webp"), alt: "", decoding: "async", error: missing });
  const heat = gallery.overlay && el("img", { class: "heat", src: file("heat", n, "webp"), alt: "", decoding: "async" });
  return heat ? [thumb, heat] : [thumb];
}

/** What is known of an image, in words, and whether that is wrong against its label: ≠. A ✓ stands for your mark. */
function labelBadge(n, anomalous) {
  const label = labelOf(n);
  if (label === null) return null;
  const wrong = anomalous !== null && anomalous !== label;
  const signs = `${wrong ? "≠ " : ""}${marks.has(rows.uri[n]) ? "✓ " : ""}`;
  return el("span", { class: `badge ${wrong ? "wrong" : ""}` }, `${signs}${label ? "defect" : "normal"}`);
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

const orders = new Map(); // those that nothing changes

/** Images by an order's name; those without a score come last. */
function ordered(order) {
  if (order === "threshold" || (["score", "part"].includes(order) && decision.moved.some(Boolean))) return inOrder(order);
  if (!orders.has(order)) orders.set(order, inOrder(order));
  return orders.get(order);
}

function inOrder(order) {
  const all = Array.from({ length: rows.count }, (_, n) => n);
  if (order === "part") return byPart();
  if (order === "name") return all.sort((a, b) => (rows.uri[a] < rows.uri[b] ? -1 : 1));
  const keys = all.map((n) => sortKey(order, n));
  return all.sort((a, b) => keys[b] - keys[a] || a - b);
}

function sortKey(order, n) {
  const raw = rows.score_raw[n];
  if (raw === null) return -Infinity;
  if (order === "threshold") {
    const threshold = thresholdOf(n);
    return threshold === null ? -1e9 : -Math.abs(raw - threshold);
  }
  return order === "score" ? rankKey(n) : rows[order][n] ?? -Infinity;
}
