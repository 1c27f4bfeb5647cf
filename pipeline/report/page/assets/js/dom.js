"use strict";
// Elements made of text and attributes alone. Nothing of this page is ever parsed from a string: names from the data
// cannot become markup.

/** Return an element with attributes (functions listen to events; false and null are left out) and children. */
function el(name, attributes = {}, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** Return an element of SVG, likewise. */
function svg(name, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/** Replace what is in a node. */
function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== false));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

function build(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  return fill(node, ...children);
}
