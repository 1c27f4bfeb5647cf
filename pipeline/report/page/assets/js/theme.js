"use strict";
// Light, dark, or as the system says.

const THEMES = ["system", "light", "dark"];

function startTheme() {
  setTheme(remembered("lakescore/theme"));
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    remember("lakescore/theme", next);
    setTheme(next);
  });
}

function setTheme(theme) {
  const chosen = THEMES.includes(theme) ? theme : "system";
  document.documentElement.dataset.theme = chosen;
  fill(byId("theme"), el("span", { class: "word" }, "Theme: "), chosen);
}
