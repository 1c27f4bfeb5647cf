"use strict";
// From the address to what is shown: nothing is the first screen, #images the list, #image/<n> one image.

const VIEWS = ["overview", "images", "image"];

function view() {
  return VIEWS.find((name) => !byId(`view-${name}`).hidden) ?? null;
}

function route() {
  if (location.hash === "#content" && view()) return; // skipped to; the view stays
  const [, name, n] = location.hash.match(/^#(images|image\/(\d+))$/) ?? [];
  if (!name && location.hash) return (location.hash = ""); // nothing is called so
  const wanted = !name ? "overview" : n === undefined ? "images" : "image";
  if (wanted === "image" && !(Number(n) < rows.count)) return (location.hash = "#images");
  if (wanted !== "overview" && !LAKESCORE.ready) return; // they are still being read
  const before = view();
  for (const one of VIEWS) byId(`view-${one}`).hidden = one !== wanted;
  for (const [id, here] of [["to-overview", wanted === "overview"], ["to-images", wanted !== "overview"]]) {
    if (here) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
  if (wanted === "images") {
    refresh();
    if (before === "image" && gallery.listed.length) return setCurrent(gallery.at, true);
  }
  if (wanted === "overview" && LAKESCORE.ready) showWorst(); // marks and thresholds may have changed meanwhile
  if (wanted === "image") showImage(Number(n));
  else shownImage = null;
  if (before !== wanted || wanted === "image") scrollTo(0, 0);
  if (before && (before !== wanted || wanted === "image")) byId(`${wanted}-title`)?.focus({ preventScroll: true });
}

async function start() {
  startTheme();
  if (!LAKESCORE.facts) return fail(new Error("data/run.js cannot be read: is the report's folder whole?"));
  startDecision();
  startMarks();
  startKeeping();
  showOverview();
  startKeys();
  addEventListener("hashchange", route);
  route();
  try {
    await loadImages();
  } catch (error) {
    return fail(error);
  }
  startParts();
  startImages();
  route();
}

function fail(error) {
  byId("notice").textContent = error.message;
  byId("notice").hidden = false;
}

document.addEventListener("DOMContentLoaded", start);
