// The page's state, loading of data files, and helpers. Everything from the catalogue is inserted as textContent.
"use strict";

var asid = (() => {
  const base = document.currentScript.src.replace(/[^/]*$/, "");
  const KINDS = ["sample", "duplicate"];
  const state = { head: null, rows: { sample: [], duplicate: [] }, byId: new Map(), byFirst: new Map(), tracks: new Map(), media: new Map() };
  const loading = new Map();

  // Browsers do not let a page on file:// fetch data, so the data files are scripts that call asid.page(...) and so on.
  function load(file) {
    if (!loading.has(file)) {
      loading.set(file, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = base + file;
        script.onload = resolve;
        script.onerror = () => { loading.delete(file); reject(new Error(file + " is missing: was the whole folder copied?")); };
        document.head.append(script);
      }));
    }
    return loading.get(file);
  }

  function track([id, title, artist, year, duration, cover]) {
    if (!state.tracks.has(id)) {
      const name = title || id.split("/").pop() || id;
      state.tracks.set(id, { id, name, artist, year, duration, cover, text: [name, artist, year, id].join(" ").toLowerCase() });
    }
    return state.tracks.get(id);
  }

  function page(data) {
    const tracks = data.tracks.map(track);
    data.q.forEach((q, i) => {
      const row = { kind: data.kind, file: data.file, query: tracks[q], reference: tracks[data.r[i]], source: data.source[i] === null ? null : tracks[data.source[i]], placeList: null };
      for (const name of ["id", "score", "times", "places", "qs", "rs", "by", "sure", "tempo", "pitch", "common", "first", "heard", "verdict", "new"]) row[name] = data[name][i];
      row.number = row.first; // samples before duplicates, each best first
      state.rows[data.kind].push(row);
      state.byId.set(row.id, row);
      state.byFirst.set(row.first, row);
    });
  }

  // The places of the relations of one file. Each relation knows the number of its first place.
  function places(data) {
    let relation = null;
    data.qs.forEach((_, i) => {
      const place = { number: data.first + i };
      for (const name of ["qs", "qe", "rs", "re", "score", "rerank", "coarse", "verify", "tempo", "pitch", "windows", "heard", "back"]) place[name] = data[name][i];
      if (state.byFirst.has(place.number)) { relation = state.byFirst.get(place.number); relation.placeList = []; }
      relation.placeList.push(place);
    });
  }

  // el("p", {class: "note"}, "text", child): strings become text, never markup
  function el(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  // A title in its own direction, so that right-to-left text does not affect its neighbours.
  function titleOf(track, detailed) {
    const under = [track.artist, track.year].filter(Boolean).join(", ");
    const cover = track.cover && el("img", { class: "cover", src: base + "covers/" + track.cover, alt: "", loading: "lazy" });
    return el("span", { class: cover ? "title with-cover" : "title", title: track.id.slice(0, 300) }, cover,
      el("bdi", { class: "name" }, track.name),
      under || detailed ? el("bdi", { class: "under" }, under || track.id.slice(0, 200)) : null);
  }

  function clock(seconds, digits = 1) {
    const unit = 10 ** digits;
    const whole = Math.round(seconds * unit);
    const rest = (whole % (60 * unit)) / unit;
    return Math.floor(whole / (60 * unit)) + ":" + rest.toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  }

  const format = {
    clock,
    span: (from, to) => clock(from) + "–" + clock(to),
    score: (value) => (value === null ? "–" : value.toFixed(2)),
    tempo: (value) => "×\u00a0" + value.toFixed(2),
    pitch: (value) => (value === null ? "–" : (value >= 0.05 ? "+" : value <= -0.05 ? "−" : "") + Math.abs(value).toFixed(1)),
    percent: (value) => Math.round(100 * value) + " %",
    count: (value) => value.toLocaleString("en"),
  };

  // How the direction is known, as a word and as a sentence.
  const direction = {
    word: (row) => (row.kind === "duplicate" ? "–" : { years: "by year", audio: row.sure === null ? "by audio" : format.percent(row.sure), unknown: "unknown" }[row.by]),
    sentence: (row) => ({
      years: `Direction by year: ${row.query.year} after ${row.reference.year}.`,
      audio: `Direction by audio: ${format.percent(row.sure ?? 1)} sure.`,
      unknown: "Direction unknown; the order shown scored better." + (row.sure === null ? "" : ` The audio gives ${format.percent(row.sure)} for it.`),
    }[row.by]),
  };

  const isChanged = {
    tempo: (row) => Math.abs(row.tempo - 1) > 0.02,
    pitch: (row) => Math.abs(row.pitch || 0) > 0.3,
  };

  // #r<id>, optionally with the seconds in the query and in the reference where one of its places starts
  const ADDRESS = /^#r([0-9a-f]{16})((?:\/\d+(?:\.\d+)?){0,2})$/;

  // The relation and the seconds that the address names; row is null if the report does not have it.
  function addressed() {
    const match = ADDRESS.exec(location.hash);
    return match && { id: match[1], seconds: match[2].split("/").slice(1).map(Number), row: state.byId.get(match[1]) || null };
  }

  return {
    KINDS, state, load, page, places, el, titleOf, format, direction, isChanged, base, track, addressed,
    start: (head) => { state.head = head; },
    network: (data) => { state.network = data; },
    media: (number, media) => { state.media.set(number, media); },
    byId: (id) => document.getElementById(id),
  };
})();
