// The reader's verdicts on relations, kept in this browser and saved to a file for `asid review`.
"use strict";

asid.verdict = (() => {
  const { el, byId, format, state } = asid;
  const WORDS = { y: "confirmed", n: "not a sample", u: "unsure" };
  const mine = new Map(); // relation id -> {verdict, note, when}
  let key = null;

  function restore() {
    key = "asid-verdicts:" + state.head.catalogue;
    try {
      for (const [id, one] of Object.entries(JSON.parse(localStorage.getItem(key) || "{}"))) mine.set(id, one);
    } catch (error) { /* a browser may forbid storage; verdicts then last as long as the page */ }
  }

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(Object.fromEntries(mine))); } catch (error) { /* as above */ }
    say();
  }

  // Forget verdicts that the catalogue has by now, or for which it has a later verdict.
  function forgetWritten() {
    const before = mine.size;
    for (const [id, one] of mine) {
      const known = state.byId.get(id)?.verdict;
      if (known && Date.parse(one.when) < Date.parse(known.when) + 1000) mine.delete(id); // the page has whole seconds
    }
    if (mine.size !== before) keep();
  }

  // The verdict that counts: the reader's own, otherwise the catalogue's.
  const of = (row) => {
    const one = mine.get(row.id) || row.verdict;
    return one && one.verdict !== "withdrawn" ? one : null;
  };
  const word = (row) => (of(row) ? of(row).verdict : "");

  function give(row, verdict, note) {
    const before = of(row);
    const same = before && before.verdict === verdict && note === undefined;
    mine.set(row.id, { verdict: same ? "withdrawn" : verdict, note: note ?? (before ? before.note : ""), when: new Date().toISOString() });
    keep();
    asid.table.update();
  }

  function say() {
    byId("verdicts-status").textContent = mine.size ? `${format.count(mine.size)} verdict${mine.size === 1 ? "" : "s"} in this browser.` : "";
    byId("verdicts").hidden = !mine.size;
  }

  // The file that `asid review` takes.
  function text() {
    const verdicts = [...mine].filter(([id]) => state.byId.has(id)).map(([id, one]) => {
      const row = state.byId.get(id);
      return { relation: id, query: row.query.id, reference: row.reference.id, ...one };
    });
    return JSON.stringify({ catalogue: state.head.catalogue, sweep: state.head.sweep, verdicts }, null, 1);
  }

  function save() {
    const url = URL.createObjectURL(new Blob([text()], { type: "application/json" }));
    el("a", { href: url, download: "verdicts.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    byId("verdicts-status").textContent = "Saved as verdicts.json. Next: asid review --catalogue CATALOGUE verdicts.json";
  }

  // The buttons and the note of a relation.
  function panel(row) {
    const place = el("div", { class: "verdict-panel", role: "group", "aria-label": "Your verdict" });
    const draw = () => {
      const now = of(row);
      const buttons = Object.entries(WORDS).map(([letter, verdict]) => el("button", {
        type: "button", "aria-pressed": String(Boolean(now) && now.verdict === verdict), "aria-keyshortcuts": letter,
        onclick: () => { give(row, verdict); draw(); place.querySelector(`[aria-keyshortcuts=${letter}]`).focus(); },
      }, verdict[0].toUpperCase() + verdict.slice(1), el("kbd", { "aria-hidden": "true" }, letter)));
      const note = el("input", { type: "text", maxlength: "2000", autocomplete: "off", disabled: !now, onchange: (event) => give(row, of(row).verdict, event.target.value) });
      note.value = now ? now.note || "" : "";
      const by = !mine.has(row.id) && row.verdict && row.verdict.by ? el("span", { class: "note" }, `By ${row.verdict.by}, ${row.verdict.when.slice(0, 10)}`) : null;
      place.replaceChildren(...buttons, el("label", { class: "grow" }, "Note", note), ...[by].filter(Boolean));
    };
    draw();
    place.redraw = draw;
    return place;
  }

  // j, k: next and previous; y, n, u: verdicts; space: play
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const open = asid.addressed(), row = open ? open.row : asid.table.focused();
    const step = { j: 1, k: -1 }[event.key];
    if (step) {
      const next = open ? asid.table.next(open.id, step) : null;
      if (next) location.hash = "r" + next.id;
      else if (!open) asid.table.move(step);
    } else if (WORDS[event.key] && row) {
      give(row, WORDS[event.key]);
      if (open) document.querySelector("#view-relation .verdict-panel")?.redraw();
    } else if (event.key === " " && open && !event.target.closest("button, a")) {
      if (asid.player.isPlaying()) asid.player.stop();
      else [...document.querySelectorAll("#view-relation .controls button")].pop()?.click();
      event.preventDefault();
    }
  }

  function begin() {
    restore();
    say();
    byId("verdicts-save").addEventListener("click", save);
    addEventListener("keydown", onKey);
  }

  return { begin, of, word, panel, text, forgetWritten };
})();
