"use strict";
// Numbers and names as people read them.

const DASH = "–";

function count(number) {
  return number === null ? DASH : number.toLocaleString("en-GB");
}

function counted(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

/** A score or distance. */
function figure(number, digits = 3) {
  return number === null || number === undefined ? DASH : number.toFixed(digits);
}

function percent(share, digits = 1) {
  return share === null || share === undefined || Number.isNaN(share) ? DASH : `${(100 * share).toFixed(digits)} %`;
}

/** A moment of run.json, without its T, in UTC as it is kept. */
function moment(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : DASH;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A name in which nothing is hidden: characters that control, or turn the direction of writing, show as their code. */
function shown(name) {
  return name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

/**
 * The last parts of an address: the name of its file, with that of its folder where two are wanted.
 * Of a box of a photograph: the photograph's name, the box's left and upper edge, its width and height.
 */
function tail(uri, parts = 1) {
  const box = /^(.*)#xywh=(\d+),(\d+),(\d+),(\d+)$/s.exec(uri);
  if (box) return `${tail(box[1])} ${box[2]},${box[3]} ${box[4]}×${box[5]}`;
  return shown(uri.split("/").slice(-parts).join("/") || uri);
}
