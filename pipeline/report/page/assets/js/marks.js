"use strict";
// What an inspector marks: kept in the browser for this run where that is allowed, and taken home as labels.csv.

const marks = new Map(); // uri -> "normal" or "defect"

function startMarks() {
  for (const [uri, label] of JSON.parse(remembered(runKey()) ?? "[]")) marks.set(uri, label);
  byId("download").addEventListener("click", download);
  showMarks();
}

/** Mark an image as normal or defect, or (null) as neither. */
function mark(n, label) {
  if (label === null) marks.delete(rows.uri[n]);
  else marks.set(rows.uri[n], label);
  const kept = remember(runKey(), JSON.stringify([...marks]));
  if (!kept) window.onbeforeunload = (event) => event.preventDefault();
  showMarks(kept);
}

/** RFC 4180, as --input.labels takes it. */
function labelsCsv() {
  const quoted = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [...marks].map(([uri, label]) => `${quoted(uri)},${label}`);
  return ["uri,label", ...lines].map((line) => `${line}\r\n`).join("");
}

function download() {
  const address = URL.createObjectURL(new Blob([labelsCsv()], { type: "text/csv" }));
  el("a", { href: address, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  window.onbeforeunload = null;
}

function showMarks(kept = true) {
  const text = marks.size ? `${count(marks.size)} marked${kept ? "" : ", not kept by this browser: download them"}` : "";
  byId("marked").textContent = text;
  byId("download").disabled = !marks.size;
}

function runKey() {
  return `lakescore/${LAKESCORE.facts.run_id}/${LAKESCORE.facts.started}`;
}

/** Read and write what the browser keeps, or this tab alone; pages from disk are not everywhere allowed to. */
function remembered(key, storage = "localStorage") {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value, storage = "localStorage") {
  try {
    window[storage].setItem(key, value);
    return true;
  } catch {
    return false;
  }
}
