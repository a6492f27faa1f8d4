// One place of a relation: what it looks like, and what it sounds like.
"use strict";

asid.place = (() => {
  const { el, format, state, drawing, player } = asid;
  const SIDES = ["query", "reference"];

  function change(row) {
    const percent = Math.round(Math.abs(row.tempo - 1) * 100);
    const tempo = percent ? `${percent} % ${row.tempo > 1 ? "faster" : "slower"} than the original` : "as in the original";
    const steps = Math.abs(row.pitch || 0).toFixed(1);
    const pitch = row.pitch === null ? "not measured" : steps === "0.0" ? "as in the original" : `${steps} semitone${steps === "1.0" ? "" : "s"} ${row.pitch > 0 ? "higher" : "lower"}`;
    return { tempo, pitch };
  }

  function facts(row) {
    const { tempo, pitch } = change(row);
    const parts = [["coarse", row.coarse], ["rerank", row.rerank], ["verify", row.verify]].filter(([, value]) => value !== null);
    const list = [
      ["Score", format.score(row.score)],
      ["Tempo", `${format.tempo(row.tempo)}, ${tempo}`],
      ["Pitch", row.pitch === null ? pitch : `${format.pitch(row.pitch)}, ${pitch}`],
      ["In the query", format.span(row.qs, row.qe)],
      ["In the reference", format.span(row.rs, row.re)],
      ["Evidence", `${format.count(row.windows)} windows; ` + parts.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")],
    ];
    return el("dl", { class: "facts" }, ...list.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  function voice(row, side, head) {
    const audio = new Audio(`${asid.base}media/${row.number}-${side}.mp3`);
    audio.preload = "auto";
    return { audio, head };
  }

  function controls(row, voices) {
    const both = voices.query && voices.reference;
    const rate = el("input", { type: "checkbox", checked: true });
    const message = el("span", { class: "message", role: "status" });
    const buttons = [];
    const add = (text, sides, together) => {
      const button = el("button", { type: "button", "aria-pressed": "false", class: sides.length === 1 ? sides[0] : "" }, text);
      button.onclick = () => {
        if (button.getAttribute("aria-pressed") === "true") return player.stop();
        const fit = both && rate.checked;
        if (voices.reference) {
          voices.reference.audio.playbackRate = fit ? row.tempo : 1;
          voices.reference.audio.preservesPitch = !(fit && player.isTurntable(row));
        }
        player.play(sides.map((side) => voices[side]), together, () => button.setAttribute("aria-pressed", "false"))
          .catch((error) => { message.textContent = "Cannot play: " + error.message; });
        button.setAttribute("aria-pressed", "true");
        return undefined;
      };
      buttons.push(button);
    };
    for (const side of SIDES) if (voices[side]) add(side === "query" ? "Play query" : "Play reference", [side], false);
    if (both) {
      add("In turn", SIDES, false);
      add("Both at once", SIDES, true);
    }
    const stretch = both && asid.isChanged.tempo(row)
      ? el("label", { class: "check" }, rate, ` Reference at the query's tempo (${format.tempo(row.tempo)}${player.isTurntable(row) ? ", and pitch" : ""})`) : null;
    return el("div", { class: "controls", role: "group", "aria-label": "Play" }, ...buttons, stretch, message);
  }

  async function sound(row, place) {
    const sides = SIDES.filter((_, i) => row.heard & (1 << i));
    if (!sides.length) {
      place.append(el("p", { class: "note" }, `No sound is kept for this place. This page has sound for ${format.count(state.head.sounds.most)} places of each kind, the best of each pair first; asid report --set report.snippets=N makes more.`));
      return;
    }
    await Promise.all(sides.map((side) => asid.load(`media/${row.number}-${side}.js`)));
    const spans = { query: [row.qs, row.qe], reference: [row.rs, row.re] };
    const pictures = {}, voices = {};
    for (const side of sides) {
      pictures[side] = drawing.snippet(side, state.pictures.get(row.number + side), ...spans[side]);
      voices[side] = voice(row, side, pictures[side].head);
    }
    const stack = el("div", { class: "snippets" });
    if (pictures.query) stack.append(pictures.query.figure);
    if (pictures.query && pictures.reference) stack.append(drawing.links(pictures.query.shares, pictures.reference.shares));
    if (pictures.reference) stack.append(pictures.reference.figure);
    place.replaceChildren(controls(row, voices), stack);
  }

  return { sound, facts };
})();
