"use strict";
// One image at any size: the picture, tiles of it where it is large, its heat map over it, and outlines over both.

const NEAREST = 1; // the smallest zoom: the image fits the stage
const FARTHEST = 32; // of images without tiles

const stage = { zoom: 1, x: 0, y: 0, show: { overlay: true, contour: true, truth: true, worst: true, ignored: true }, opacity: 0.65 };

/** Return the stage for image n; `detail` comes later, by `drawOutlines`. */
function buildStage(n) {
  Object.assign(stage, { zoom: 1, x: 0, y: 0 });
  Object.assign(closer, { n, tiles: null });
  if (!rows.drawn[n]) {
    const why = rows.status[n] === "scored" ? "Not drawn: it is not among the worst images (report.images), or could not be read." : "Quarantined: there is no picture.";
    return el("div", { id: "stage", class: "empty" }, el("p", {}, why));
  }
  const missing = (event) => event.target.replaceWith(el("p", { class: "absent" }, "This picture is missing from the report's folder."));
  const sheet = el(
    "div",
    { id: "sheet" },
    el("img", { id: "original", src: file("images", n, "webp"), alt: `Image ${shown(rows.uri[n])}`, draggable: "false", error: missing }),
    el("div", { id: "tiled" }),
    el("img", { id: "heat", src: file("heat", n, "webp"), alt: "", draggable: "false", error: (event) => event.target.remove() }),
    svg("svg", { id: "outlines", viewBox: `0 0 ${rows.width[n]} ${rows.height[n]}`, preserveAspectRatio: "none", "aria-hidden": "true" }),
  );
  const box = el("div", { id: "stage", tabindex: "0", role: "group", "aria-label": "Image: + and − zoom, 0 fits, drag to move" }, sheet);
  box.addEventListener("wheel", onWheel, { passive: false });
  box.addEventListener("pointerdown", onPointer);
  box.addEventListener("pointermove", onPointerMove);
  for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, onPointerEnd);
  box.addEventListener("dblclick", (event) => zoomBy(stage.zoom > 1 ? 1 / stage.zoom : 3, event.clientX, event.clientY));
  new ResizeObserver(() => fit(n)).observe(box);
  return box;
}

/** Shade what was not looked at, and draw outlines at the pixel threshold, the truth, and the worst patch. */
function drawOutlines(n, detail) {
  const outlines = byId("outlines");
  if (!outlines || !detail) return;
  const [width, height] = [rows.width[n], rows.height[n]];
  const path = (polygons) => polygons.map((points) => `M${points.map(([x, y]) => `${x * width},${y * height}`).join("L")}Z`).join("");
  const twice = (kind, d) => [svg("path", { class: `${kind} halo`, d }), svg("path", { class: kind, d })];
  const radius = Math.max(width, height) / 40;
  const [x, y] = detail.worst ?? [];
  const ring = x === undefined ? [] : ["worst halo", "worst"].map((kind) => svg("circle", { class: kind, cx: x * width, cy: y * height, r: radius }));
  const ignored = detail.seen ? [svg("path", { class: "ignored", d: `M0,0H${width}V${height}H0Z${path(detail.seen)}` })] : [];
  fill(outlines, ...ignored, ...(detail.truth?.length ? twice("truth", path(detail.truth)) : []), ...(detail.contour?.length ? twice("contour", path(detail.contour)) : []), ...ring);
  showLayers();
}

/** Show the layers that are switched on. */
function showLayers() {
  const box = byId("stage");
  for (const [name, on] of Object.entries(stage.show)) {
    box?.classList.toggle(`no-${name}`, !on);
    const control = byId(`layer-${name}`);
    if (control) control.checked = on;
  }
  const heat = byId("heat");
  if (heat) heat.style.opacity = stage.opacity;
}

function toggleLayer(name) {
  stage.show[name] = !stage.show[name];
  showLayers();
}

/** Give the sheet the largest size with the image's sides that the stage has room for. */
function fit(n) {
  const box = byId("stage");
  const sheet = byId("sheet");
  if (!sheet) return;
  const scale = Math.min(box.clientWidth / rows.width[n], box.clientHeight / rows.height[n]);
  sheet.style.setProperty("--aspect", rows.width[n] / rows.height[n]); // for paper
  sheet.style.width = `${rows.width[n] * scale}px`;
  sheet.style.height = `${rows.height[n] * scale}px`;
  place();
}

/** Zoom by a factor; what lies at a point of the screen stays there (default: the middle). */
function zoomBy(factor, clientX, clientY) {
  const box = byId("stage")?.getBoundingClientRect();
  if (!box || !byId("sheet")) return;
  const zoom = Math.min(farthest(), Math.max(NEAREST, stage.zoom * factor));
  const x = clientX === undefined ? 0 : clientX - box.left - box.width / 2;
  const y = clientY === undefined ? 0 : clientY - box.top - box.height / 2;
  stage.x = x - ((x - stage.x) * zoom) / stage.zoom;
  stage.y = y - ((y - stage.y) * zoom) / stage.zoom;
  stage.zoom = zoom;
  place();
}

function resetZoom() {
  Object.assign(stage, { zoom: 1, x: 0, y: 0 });
  place();
}

/** Move the sheet to where it belongs; it is never moved out of the stage. */
function place() {
  const sheet = byId("sheet");
  if (!sheet) return;
  const box = byId("stage");
  const room = (size, whole) => Math.max(0, (size * stage.zoom - whole) / 2);
  const [wide, high] = [room(sheet.offsetWidth, box.clientWidth), room(sheet.offsetHeight, box.clientHeight)];
  stage.x = Math.min(wide, Math.max(-wide, stage.x));
  stage.y = Math.min(high, Math.max(-high, stage.y));
  sheet.style.transform = `translate(${stage.x}px, ${stage.y}px) scale(${stage.zoom})`;
  sheet.style.setProperty("--zoom", stage.zoom); // lines stay as thin as they are
  box.classList.toggle("close", isClose());
  const reading = byId("zoom");
  if (reading) reading.textContent = `${stage.zoom.toFixed(1)}×`;
  showTiles();
}

function onWheel(event) {
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
}

const pointers = new Map(); // those that are down: one moves, two zoom

function onPointer(event) {
  event.currentTarget.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
}

function onPointerMove(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  pointers.set(event.pointerId, event);
  if (pointers.size === 2) {
    const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    zoomBy(apart(event) / apart(before), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
  } else {
    stage.x += event.clientX - before.clientX;
    stage.y += event.clientY - before.clientY;
    place();
  }
}

function onPointerEnd(event) {
  pointers.delete(event.pointerId);
}
