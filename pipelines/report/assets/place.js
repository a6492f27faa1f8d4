// One place of a relation: what it looks like, and what it sounds like.
"use strict";

asid.place = (() => {
  const { el, format, state, drawing, player } = asid;

  function change(row) {
    const percent = Math.round(Math.abs(row.tempo - 1) * 100);
    const tempo = percent ? `${percent} % ${row.tempo > 1 ? "faster" : "slower"} than the original` : "as in the original";
    const steps = Math.abs(row.pitch || 0).toFixed(1);
    const pitch = row.pitch === null ? "not measured" : steps === "0.0" ? "as in the original" : `${steps} semitone${steps === "1.0" ? "" : "s"} ${row.pitch > 0 ? "higher" : "lower"}`;
    return { tempo, pitch };
  }

  function facts(row) {
    const { tempo, pitch } = change(row);
    const parts = [["coarse search", row.coarse], ["reranker", row.rerank], ["matched filter", row.verify]].filter(([, value]) => value !== null);
    const list = [
      ["Score", format.score(row.score)],
      ["Tempo", `${format.tempo(row.tempo)}, ${tempo}`],
      ["Pitch", pitch],
      ...(row.back ? [["Played", "backwards"]] : []),
      ["In the query", format.span(row.qs, row.qe)],
      ["In the reference", format.span(row.rs, row.re)],
      ["Evidence", `${format.count(row.windows)} windows agree; ` + parts.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")],
    ];
    return el("dl", { class: "facts" }, ...list.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  // The reference as the query plays it, or the reference itself if that changes nothing.
  const likeQuery = (media) => media.matched || media.reference;

  async function voices(media, heads) {
    const [query, reference, matched] = await Promise.all([media.query, media.reference, likeQuery(media)].map((one) => player.decode(one.mp3)));
    return {
      query: { buffer: query, heads: [heads.query, heads.shared] },
      reference: { buffer: reference, heads: [heads.reference] },
      matched: { buffer: matched, heads: [heads.reference, heads.shared] },
    };
  }

  function controls(row, media, heads) {
    const message = el("span", { class: "message", role: "status" });
    const buttons = [];
    let decoded = null; // at the first press, because most places are never played
    const add = (text, sides, together) => {
      const button = el("button", { type: "button", "aria-pressed": "false", class: sides.length === 1 ? sides[0] : "" }, text);
      button.onclick = async () => {
        if (button.getAttribute("aria-pressed") === "true") return player.stop();
        button.setAttribute("aria-pressed", "true");
        try {
          decoded ||= voices(media, heads);
          const all = await decoded;
          await player.play(sides.map((side) => all[side]), together, () => button.setAttribute("aria-pressed", "false"));
        } catch (error) {
          button.setAttribute("aria-pressed", "false");
          message.textContent = "Cannot play: " + error.message;
        }
        return undefined;
      };
      buttons.push(button);
    };
    add("Play query", ["query"], false);
    add("Play reference", ["reference"], false);
    if (media.matched) add(row.back ? "Reference backwards, at the query’s pitch and tempo" : "Reference at the query’s pitch and tempo", ["matched"], false);
    add("In turn", ["query", "matched"], false);
    add("Both at once", ["query", "matched"], true);
    return el("div", { class: "controls", role: "group", "aria-label": "Play" }, ...buttons, message);
  }

  async function sound(row, place) {
    if (!row.heard) {
      place.append(el("p", { class: "note" }, `This place has no sound. The report holds sound for ${format.count(state.head.sounds.places)} places in ${format.count(state.head.sounds.mb)} MB, the best place of each pair first. For more: asid report --set report.sound_mb=N`));
      return;
    }
    await asid.load(`media/${row.number}.js`);
    const media = state.media.get(row.number);
    const query = drawing.snippet("query", media.query, row.qs, row.qe), reference = drawing.snippet("reference", media.reference, row.rs, row.re);
    const shared = drawing.shared(media);
    const heads = { query: query.head, reference: reference.head, shared: shared.head };
    place.replaceChildren(controls(row, media, heads),
      el("div", { class: "snippets" }, query.figure, drawing.links(query.shares, reference.shares, row.back), reference.figure, shared.figure));
  }

  return { sound, facts };
})();
