"use strict";
// What one sees of a large image who looks closer: tiles of it at all its pixels, or at halves of them.

const closer = { n: null, tiles: null, wanted: new Set() };

/** From now on show tiles of image n, where it has any: the side of one, and width and height of each level. */
function useTiles(n, tiles) {
  Object.assign(closer, { n, tiles: tiles ?? null });
  place();
}

/** Pixels of the screen that the image is wide. */
function screenWidth() {
  return byId("sheet").offsetWidth * stage.zoom * devicePixelRatio;
}

/** Whether single pixels of the image are seen, which are to have edges. */
function isClose() {
  return closer.tiles ? screenWidth() >= 2 * rows.width[closer.n] : stage.zoom >= 4;
}

/** Up to which zoom one can go: to eight pixels of the page for one of the image at least. */
function farthest() {
  return closer.tiles ? Math.max(FARTHEST, (8 * rows.width[closer.n]) / byId("sheet").offsetWidth) : FARTHEST;
}

/** Bring in the tiles of what is seen, of the smallest level that has a pixel for each of the screen. */
function showTiles() {
  const layer = byId("tiled");
  if (!layer || !closer.tiles) return;
  const { picture, side, levels } = closer.tiles;
  const [width, height] = levels[0];
  closer.wanted = new Set();
  if (screenWidth() > (picture * width) / Math.max(width, height)) {
    const level = Math.max(0, levels.findLastIndex(([wide]) => wide >= screenWidth()));
    const [sheet, box] = ["sheet", "stage"].map((id) => byId(id).getBoundingClientRect());
    const tile = side * 2 ** level; // pixels of the image
    const seen = (from, to, start, size, whole) => {
      const [first, last] = [from, to].map((edge) => ((edge - start) / size) * (whole / tile));
      const places = Array.from({ length: Math.ceil(whole / tile) }, (_, place) => place);
      return places.filter((place) => place + 1 > first && place < last);
    };
    for (const column of seen(box.left, box.right, sheet.left, sheet.width, width))
      for (const row of seen(box.top, box.bottom, sheet.top, sheet.height, height)) closer.wanted.add(`${level}-${column}-${row}`);
  }
  const there = new Set([...layer.children].map((image) => image.dataset.tile));
  layer.append(...[...closer.wanted].filter((name) => !there.has(name)).map(tileImage));
  dropTiles();
}

/** Return the picture of a tile where it lies on the sheet. */
function tileImage(name) {
  const { side, levels } = closer.tiles;
  const [level, column, row] = name.split("-").map(Number);
  const image = el("img", {
    "data-tile": name, alt: "", draggable: "false", src: `tiles/${Math.floor(closer.n / CHUNK)}/${closer.n}/${name}.webp`,
    load: dropTiles, error: (event) => event.target.remove(),
  });
  const share = (pixels, axis) => `${(100 * pixels * 2 ** level) / levels[0][axis]}%`;
  const sides = [column, row].map((place, axis) => Math.min(side, levels[level][axis] - place * side));
  Object.assign(image.style, { left: share(column * side, 0), top: share(row * side, 1), width: share(sides[0], 0), height: share(sides[1], 1) });
  return image;
}

/** Take away tiles of before, once those that are wanted are there. */
function dropTiles() {
  const images = [...(byId("tiled")?.children ?? [])]; // a tile may come when its image was left
  const wanted = images.filter((image) => closer.wanted.has(image.dataset.tile));
  if (wanted.every((image) => image.complete)) images.filter((image) => !wanted.includes(image)).forEach((image) => image.remove());
}
