"use strict";
// The run's data. Its files are scripts that call these three functions, since a page on disk may read nothing else.

const CHUNK = 1000; // rows of a file, and pictures of a folder

const rows = { count: 0 }; // a list for each column, by the image's number n
const details = new Map(); // n -> what its file says
const LAKESCORE = {
  facts: null,
  ready: false, // whether all images are known
  run(facts) {
    LAKESCORE.facts = facts;
    rows.count = facts.counts.images;
  },
  images(chunk, columns) {
    for (const [name, values] of Object.entries(columns)) {
      rows[name] ??= new Array(rows.count).fill(null);
      values.forEach((value, place) => (rows[name][chunk * CHUNK + place] = value));
    }
  },
  detail(n, detail) {
    details.set(n, detail);
  },
};

/** Bring in all images. */
async function loadImages() {
  const chunks = Math.ceil(rows.count / CHUNK);
  await Promise.all(Array.from({ length: chunks }, (_, chunk) => script(`data/images-${chunk}.js`)));
  LAKESCORE.ready = true;
}

/** Return what is known of one image's patches, or null where it was not drawn. */
async function loadDetail(n) {
  if (!rows.drawn[n]) return null;
  if (!details.has(n)) await script(file("details", n, "js"));
  return details.get(n);
}

/** The address of one of an image's files. */
function file(folder, n, ending) {
  return `${folder}/${Math.floor(n / CHUNK)}/${n}.${ending}`;
}

function script(address) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error(`${address} cannot be read: is the report's folder whole?`));
    document.head.append(el("script", { src: address, load: resolve, error: failed }));
  });
}
