"use strict";
// What can be done without a mouse.

const KEYS = [
  ["← → ↑ ↓", "go from image to image"],
  ["Home, End", "go to the first or the last image of the list"],
  ["Enter", "open the image"],
  ["Esc", "back to the list; out of a field"],
  ["/", "find by name"],
  ["o", "heat map on and off"],
  ["c", "outline at the pixel threshold on and off"],
  ["t", "ground truth on and off"],
  ["w", "worst patch on and off"],
  ["r", "shade over what was not looked at on and off"],
  ["+ − 0", "zoom in, out, fit"],
  ["[ ]", "go to the other views of the part"],
  ["n, d, u", "mark as normal, as defect, take the mark away"],
  ["?", "this help"],
];

// What moves the page and not from image to image
const SCROLLING = {
  overview: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"],
  image: ["ArrowUp", "ArrowDown", "Home", "End"],
};

const PRESSED = {
  "/": () => findByName(),
  "?": () => byId("keys").showModal(),
  o: () => ({ image: () => toggleLayer("overlay"), images: toggleTiles })[view()]?.(),
  c: () => view() === "image" && toggleLayer("contour"),
  t: () => view() === "image" && toggleLayer("truth"),
  w: () => view() === "image" && toggleLayer("worst"),
  r: () => view() === "image" && toggleLayer("ignored"),
  n: () => markCurrent("normal"),
  d: () => markCurrent("defect"),
  u: () => markCurrent(null),
  "+": () => zoomBy(1.5),
  "=": () => zoomBy(1.5),
  "-": () => zoomBy(1 / 1.5),
  0: () => resetZoom(),
  "[": () => goToView(-1),
  "]": () => goToView(1),
  Escape: () => view() === "image" && (location.hash = "#images"),
  ArrowLeft: () => go(-1),
  ArrowRight: () => go(1),
  ArrowUp: () => view() === "images" && go(-grid().columns),
  ArrowDown: () => view() === "images" && go(grid().columns),
  Home: () => view() === "images" && setCurrent(0, true),
  End: () => view() === "images" && setCurrent(gallery.listed.length - 1, true),
};

function startKeys() {
  fill(
    byId("keys"),
    el("h2", { id: "keys-title" }, "Keys"),
    el("dl", {}, ...KEYS.flatMap(([keys, text]) => [el("dt", {}, el("kbd", {}, keys)), el("dd", {}, text)])),
    el("button", { type: "button", click: () => byId("keys").close() }, "Close"),
  );
  byId("help").addEventListener("click", () => byId("keys").showModal());
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open || !LAKESCORE.ready) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    if (event.target.type !== "checkbox") return; // it has keys of its own
  }
  const act = Object.hasOwn(PRESSED, event.key) && PRESSED[event.key];
  if (!act) return;
  if (SCROLLING[view()]?.includes(event.key)) return;
  event.preventDefault();
  act();
}

/** Go to an image so many places further. */
function go(places) {
  if (view() === "images") {
    const inList = byId("tiles").contains(document.activeElement);
    return setCurrent(inList ? gallery.at + places : gallery.at, true);
  }
  const n = neighbour(shownImage, places);
  if (n !== undefined) location.hash = `#image/${n}`;
}

function markCurrent(label) {
  if (view() === "image") return markHere(shownImage, label);
  const n = gallery.listed[gallery.at];
  if (view() !== "images" || n === undefined) return;
  if (!byId("tiles").contains(document.activeElement)) return setCurrent(gallery.at, true); // which is it? this one
  mark(n, label);
  refresh();
  setCurrent(gallery.at, true);
}

function findByName() {
  if (view() !== "images") location.hash = "#images";
  setTimeout(() => byId("find").select()); // after the view was changed
}
