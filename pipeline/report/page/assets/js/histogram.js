"use strict";
// Distributions of scores: this run's as bars, the window's as a line, the threshold across both.

const HIGH = 60; // of the drawing, which is stretched

/**
 * Draw a histogram {edges, current, window} with a threshold or null. Both nights are drawn in shares of their own, so
 * that a week of images compares with a night.
 */
function histogram(found, threshold, label) {
  const { edges, current, window: before } = found;
  const low = edges[0];
  const span = edges.at(-1) - low || 1;
  const shares = current.map(share);
  const earlier = before?.map(share);
  const top = Math.max(...shares, ...(earlier ?? [])) || 1;
  const x = (value) => (1000 * (value - low)) / span;
  const y = (value) => HIGH - (value && Math.max(1.5, (HIGH - 2) * Math.sqrt(value / top))); // roots: few defects are seen
  const bar = (value, place) =>
    value && svg("path", {
      class: threshold !== null && edges[place] >= threshold ? "bar above" : "bar",
      d: `M${x(edges[place])},${HIGH}V${y(value)}H${x(edges[place + 1])}V${HIGH}Z`,
    });
  const line = earlier?.map((value, place) => `${place ? "L" : "M"}${x(edges[place])},${y(value)}H${x(edges[place + 1])}`);
  return svg(
    "svg",
    { class: "histogram", viewBox: `0 0 1000 ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...shares.map(bar).filter(Boolean),
    line ? svg("path", { class: "window", d: line.join("") }) : null,
    svg("path", { class: "base", d: `M0,${HIGH}H1000` }),
    threshold === null ? null : svg("path", { class: "threshold", d: `M${x(threshold)},0V${HIGH}` }),
  );
}

/** Count values in `bins` bins from low to high. */
function binned(values, low, high, bins) {
  const current = new Array(bins).fill(0);
  for (const value of values) current[Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * bins)))]++;
  return { edges: Array.from({ length: bins + 1 }, (_, i) => low + ((high - low) * i) / bins), current, window: null };
}

function share(value, _, all) {
  return value / (all.reduce((sum, one) => sum + one, 0) || 1);
}
