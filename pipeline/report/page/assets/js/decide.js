"use strict";
// What is anomalous, and how that agrees with the labels. The run has decided; a threshold that is moved decides anew.

const decision = {
  thresholds: [], // by category; null where the run found none
  moved: [], // whether somebody moved it here
};

function startDecision() {
  decision.thresholds = LAKESCORE.facts.categories.map((category) => category.threshold);
  decision.moved = LAKESCORE.facts.categories.map(() => false);
}

function moveThreshold(category, value) {
  decision.thresholds[category] = value;
  decision.moved[category] = value !== LAKESCORE.facts.categories[category].threshold;
}

/** Whether an earlier run scored an image, and its row was kept. */
function isCarried(n) {
  return rows.scored_by[n] !== null && rows.scored_by[n] !== LAKESCORE.facts.run_id;
}

/** What decides about an image: the threshold of the night that scored it, or that to which somebody moved it here. */
function thresholdOf(n) {
  const category = rows.category[n];
  return decision.moved[category] ? decision.thresholds[category] : rows.threshold[n];
}

/** The score: score_raw over the threshold that decides about an image; null where there is none of them. */
function scoreOf(n) {
  const threshold = thresholdOf(n);
  return rows.score_raw[n] === null || threshold === null ? null : rows.score_raw[n] / Math.max(threshold, 1e-9);
}

/** What images are ranked by, the highest first. */
function rankKey(n) {
  return scoreOf(n) ?? rows.score_raw[n] ?? -Infinity;
}

/** True, false, or null where nothing was scored or there is no threshold. */
function isAnomalous(n) {
  if (rows.score_raw[n] === null) return null;
  return decision.moved[rows.category[n]] ? rows.score_raw[n] > thresholdOf(n) : rows.anomalous[n];
}

/** True for a defect: what the inspector marked, or else what the lake's layout says; null where nobody knows. */
function labelOf(n) {
  const mark = marks.get(rows.uri[n]);
  return mark === undefined ? rows.label[n] : mark === "defect";
}

function isWrong(n) {
  const anomalous = isAnomalous(n);
  const label = labelOf(n);
  return anomalous !== null && label !== null && anomalous !== label;
}

/** Count images, of a category or (null) of all. */
function tally(category) {
  const found = { images: 0, scored: 0, quarantined: 0, anomalous: 0, undecided: 0, labelled: 0, hits: 0, alarms: 0, misses: 0 };
  for (let n = 0; n < rows.count; n++) {
    if (category !== null && rows.category[n] !== category) continue;
    found.images++;
    if (rows.status[n] !== "scored") {
      found.quarantined++;
      continue;
    }
    found.scored++;
    const anomalous = isAnomalous(n);
    if (anomalous === null) {
      found.undecided++;
      continue;
    }
    if (anomalous) found.anomalous++;
    const label = labelOf(n);
    if (label === null) continue;
    found.labelled++;
    if (anomalous && label) found.hits++;
    else if (anomalous) found.alarms++;
    else if (label) found.misses++;
  }
  found.precision = ratio(found.hits, found.hits + found.alarms);
  found.recall = ratio(found.hits, found.hits + found.misses);
  return found;
}

function ratio(part, whole) {
  return whole ? part / whole : null;
}
