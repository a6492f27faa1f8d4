// Pictures of a finding: both tracks as bars with the matched spans linked, and both snippets as spectrograms.
"use strict";

asid.drawing = (() => {
  const { el, format } = asid;
  const NS = "http://www.w3.org/2000/svg";
  const BLACK_TO_LIGHT = [[0, 8, 10, 20], [0.3, 45, 25, 95], [0.55, 160, 45, 95], [0.8, 240, 130, 50], [1, 255, 240, 170]];

  function svg(name, attributes, ...children) {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  // Both tracks from start to end, with all places of the relation marked and linked. `chosen` is drawn strongest.
  function tracks(row, chosen) {
    const W = 1000, H = 150, BAR = 34;
    const longest = Math.max(row.query.duration, row.reference.duration, ...row.placeList.flatMap((one) => [one.qe, one.re]), 1);
    const x = (seconds) => (seconds / longest) * W;
    const wide = (from, to) => Math.max(x(to) - x(from), 4);
    const parts = [];
    for (const [track, top, end] of [[row.query, 0, chosen.qe], [row.reference, H - BAR, chosen.re]]) {
      parts.push(svg("rect", { x: 0, y: top, width: x(Math.max(track.duration, end)), height: BAR, rx: 3, class: "whole" }));
    }
    const drawn = row.placeList.slice(0, 500).filter((one) => one !== chosen);
    for (const one of [...drawn, chosen]) {
      const q = x(one.qs), r = x(one.rs), qw = wide(one.qs, one.qe), rw = wide(one.rs, one.re);
      const group = svg("g", { class: one === chosen ? "this" : "other" });
      const points = [[q, BAR], [q + qw, BAR], [r + rw, H - BAR], [r, H - BAR]].map((point) => point.map((v) => v.toFixed(1)).join()).join(" ");
      group.append(svg("polygon", { points, class: "link" }));
      group.append(svg("rect", { x: q, y: 0, width: qw, height: BAR, class: "query" }));
      group.append(svg("rect", { x: r, y: H - BAR, width: rw, height: BAR, class: "reference" }));
      parts.push(group);
    }
    const text = `${row.placeList.length} places; this one is ${format.span(chosen.qs, chosen.qe)} of the query and ${format.span(chosen.rs, chosen.re)} of the reference`;
    return el("figure", { class: "tracks" },
      el("figcaption", { class: "ends query" }, asid.titleOf(row.query), el("span", {}, format.clock(row.query.duration, 0))),
      svg("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": text }, ...parts),
      el("figcaption", { class: "ends reference" }, asid.titleOf(row.reference), el("span", {}, format.clock(row.reference.duration, 0))));
  }

  function shade(value) {
    const i = Math.max(1, BLACK_TO_LIGHT.findIndex((stop) => stop[0] >= value));
    const [from, ...a] = BLACK_TO_LIGHT[i - 1], [to, ...b] = BLACK_TO_LIGHT[i];
    return a.map((channel, k) => channel + ((value - from) / (to - from)) * (b[k] - channel));
  }
  const palette = Array.from({ length: 256 }, (_, i) => shade(i / 255));

  const grey = Array.from({ length: 256 }, (_, i) => [14, 16, 26].map((low) => low + 0.42 * i));

  // colorOf(cell, shade): cells by row from the lowest band, shades from 0 to 255
  function spectrogram(picture, label, colorOf) {
    const canvas = el("canvas", { width: picture.frames, height: picture.bins, role: "img", "aria-label": label });
    const bytes = atob(picture.mel), context = canvas.getContext("2d");
    const image = context.createImageData(picture.frames, picture.bins);
    for (let bin = 0; bin < picture.bins; bin++) {
      for (let frame = 0; frame < picture.frames; frame++) {
        const cell = bin * picture.frames + frame, color = colorOf(cell, bytes.charCodeAt(cell));
        const at = 4 * ((picture.bins - 1 - bin) * picture.frames + frame); // low below
        image.data.set([color[0], color[1], color[2], 255], at);
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // The query in grey, with the cells in colour that match the reference at the query's pitch and tempo.
  function shared(media) {
    const bits = atob(media.shared.bits);
    const isSame = (cell) => (bits.charCodeAt(cell >> 3) >> (7 - (cell & 7))) & 1;
    const percent = format.percent(media.shared.share);
    const label = `Spectrogram of the query; highlighted: what it shares with the reference, ${percent} of the audible reference`;
    const head = el("span", { class: "playhead", hidden: true });
    const figure = el("figure", { class: "snippet shared" },
      el("figcaption", {}, el("b", {}, "What they share"), ` in colour: the query contains ${percent} of the audible reference at the expected level`),
      el("div", { class: "picture" }, spectrogram(media.query, label, (cell, value) => (isSame(cell) ? palette[Math.max(value, 90)] : grey[value])), head));
    return { figure, head };
  }

  // One snippet: its spectrogram with the matched span marked, and a line that follows the sound.
  function snippet(side, picture, from, to) {
    const share = (seconds) => Math.min(1, Math.max(0, (seconds - picture.start) / picture.seconds));
    const mark = el("span", { class: "mark" }), head = el("span", { class: "playhead", hidden: true });
    mark.style.left = 100 * share(from) + "%";
    mark.style.width = 100 * (share(to) - share(from)) + "%";
    const label = `Spectrogram of the ${side}, ${format.span(picture.start, picture.start + picture.seconds)}, match from ${format.clock(from)}`;
    const figure = el("figure", { class: "snippet " + side },
      el("figcaption", {}, el("b", {}, side === "query" ? "Query" : "Reference"), " ",
        format.span(picture.start, picture.start + picture.seconds)),
      el("div", { class: "picture" }, spectrogram(picture, label, (_, value) => palette[value]), mark, head));
    return { figure, head, shares: [share(from), share(to)] };
  }

  // Links the matched spans above and below; end to start if the query plays the reference backwards.
  function links(above, below, isBackwards) {
    const [first, last] = isBackwards ? [1, 0] : [0, 1];
    const points = [[above[0], 0], [above[1], 0], [below[last], 1], [below[first], 1]].map(([x, y]) => `${100 * x},${20 * y}`).join(" ");
    return svg("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", class: "links", "aria-hidden": "true" }, svg("polygon", { points, class: "link" }));
  }

  return { tracks, snippet, shared, links };
})();
