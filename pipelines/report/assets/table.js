// The list of relations that have loaded so far: sorted, filtered and in pages.
"use strict";

asid.table = (() => {
  const { el, byId, format, state } = asid;
  const PAGE = 50;
  const AUTOMATIC = 60; // data files of 500 relations that load automatically
  const VERDICTS = ["confirmed", "", "unsure", "not a sample"]; // in this order
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const view = { kind: "sample", sort: "score", down: true, page: 0, rows: [] };
  const loaded = { sample: 0, duplicate: 0 };
  let allowed = AUTOMATIC;

  const columns = [
    { key: "score", title: "Score", down: true, value: (row) => row.score, cell: score },
    { key: "query", title: "Track", other: "Track A", text: true, cell: (row) => asid.titleOf(row.query) },
    { key: "reference", title: "Samples", other: "Track B", text: true, cell: (row) => asid.titleOf(row.reference) },
    { key: "times", title: "Times", number: true, down: true, value: (row) => row.times, cell: (row) => format.count(row.times) },
    { key: "qs", title: "Total", number: true, down: true, value: (row) => row.qs, cell: (row) => format.clock(row.qs, 0) },
    { key: "tempo", title: "Tempo", number: true, value: (row) => row.tempo, cell: (row) => format.tempo(row.tempo) },
    { key: "pitch", title: "Pitch", number: true, value: (row) => row.pitch ?? 0, cell: (row) => format.pitch(row.pitch) },
    { key: "by", title: "Direction", down: true, value: (row) => (row.by === "years" ? 2 : row.by === "audio" ? 1 + (row.sure ?? 0) / 2 : row.sure ?? 0), cell: asid.direction.word },
    { key: "verdict", title: "Verdict", value: (row) => VERDICTS.indexOf(asid.verdict.word(row)), cell: (row) => asid.verdict.word(row) || "–" },
  ];
  const titleOf = (column) => (view.kind === "duplicate" && column.other) || column.title;

  function score(row) {
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
    bar.firstChild.style.width = Math.round(100 * row.score) + "%";
    return el("span", { class: "meter" }, format.score(row.score), bar);
  }

  function drawHead() {
    const cells = columns.map((column) => {
      const sorted = view.sort === column.key;
      const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (view.down ? "▼" : "▲") : "");
      const button = el("button", { type: "button", onclick: () => sortBy(column) }, titleOf(column), arrow);
      button.dataset.key = column.key;
      const order = sorted ? (view.down ? "descending" : "ascending") : "none";
      return el("th", { role: "columnheader", scope: "col", "aria-sort": order, class: column.number ? "number" : null }, button);
    });
    byId("table-head").replaceChildren(...cells, el("th", { role: "columnheader", scope: "col" }, el("span", { class: "hidden" }, "Open")));
  }

  function sortBy(column) {
    view.down = view.sort === column.key ? !view.down : Boolean(column.down);
    view.sort = column.key;
    view.page = 0;
    drawHead();
    update();
    byId("table-head").querySelector(`[data-key="${column.key}"]`).focus();
  }

  // The search term for all relations that share a source.
  const commonWord = (row) => (row.common === null ? null : "source:" + row.common);

  function filtered() {
    const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const least = Number(byId("filter-score").value) || 0;
    const change = byId("filter-change").value;
    const heard = byId("filter-heard").checked;
    const direction = byId("filter-direction").value, shown = byId("filter-verdict").value;
    const open = asid.addressed();
    return state.rows[view.kind].filter((row) => {
      if (open && row === open.row) return true; // until the reader leaves it, so that "next" still knows where it stands
      if (row.score < least || (heard && !row.heard)) return false;
      const verdict = asid.verdict.word(row);
      if (shown === "new" ? !row.new || verdict : shown === "none" ? verdict : shown === "left" ? verdict === "not a sample" : shown && verdict !== shown) return false;
      if (direction && (direction === "unknown") !== (row.by === "unknown")) return false;
      if (change) {
        const tempo = asid.isChanged.tempo(row), pitch = asid.isChanged.pitch(row);
        if (!{ none: !tempo && !pitch, tempo, pitch, both: tempo && pitch }[change]) return false;
      }
      return words.every((word) => row.query.text.includes(word) || row.reference.text.includes(word) || word === commonWord(row));
    });
  }

  function sorted(rows) {
    const column = columns.find((one) => one.key === view.sort);
    let value = column.value;
    if (column.text) { // titles are compared once per track, not once per comparison
      const tracks = [...new Set(rows.map((row) => row[column.key]))].sort((a, b) => collator.compare(a.name, b.name));
      const rank = new Map(tracks.map((track, i) => [track, i]));
      value = (row) => rank.get(row[column.key]);
    }
    const sign = view.down ? -1 : 1;
    return rows.sort((a, b) => sign * (value(a) - value(b)) || a.number - b.number);
  }

  function update() {
    view.rows = sorted(filtered());
    view.page = Math.min(view.page, Math.max(0, Math.ceil(view.rows.length / PAGE) - 1));
    drawRows();
  }

  function drawRows() {
    const at = links().indexOf(document.activeElement);
    const rows = view.rows.slice(view.page * PAGE, (view.page + 1) * PAGE);
    byId("table-body").replaceChildren(...rows.map(drawRow));
    const pages = Math.max(1, Math.ceil(view.rows.length / PAGE));
    byId("page-number").textContent = `Page ${format.count(view.page + 1)} of ${format.count(pages)}`;
    byId("page-first").disabled = byId("page-previous").disabled = view.page === 0;
    byId("page-next").disabled = view.page >= pages - 1;
    document.querySelector(".pager").hidden = pages === 1;
    byId("table").hidden = !rows.length;
    if (at >= 0 && links().length) links()[Math.min(at, links().length - 1)].focus();
    say();
  }

  function drawRow(row) {
    const cells = columns.map((column) =>
      el("td", { role: "cell", "data-title": titleOf(column), class: [column.key, column.number ? "number" : ""].join(" ").trim() }, column.cell(row)));
    const what = `${row.heard ? "Listen" : "Open"}: ${row.query.name.slice(0, 80)}, ${row.reference.name.slice(0, 80)}`;
    const link = el("a", { href: "#r" + row.id, "aria-label": what, class: "open" }, row.heard ? "Listen" : "Open");
    const open = (event) => { if (!event.target.closest("a") && !String(getSelection())) location.hash = "r" + row.id; };
    return el("tr", { role: "row", onclick: open }, ...cells, el("td", { role: "cell", class: "open" }, link));
  }

  function say() {
    const here = state.rows[view.kind].length, all = state.head.shown[view.kind];
    const [one, many] = view.kind === "sample" ? ["pair with samples", "pairs with samples"] : ["near-duplicate", "near-duplicates"];
    const some = view.rows.length === here ? "" : `${format.count(view.rows.length)} of `;
    const text = all === 0 ? `No ${view.kind === "sample" ? "samples" : many} were found.` : `${some}${format.count(here)} ${here === 1 ? one : many}`;
    byId("list-status").textContent = text + (here < all ? `, the best of ${format.count(all)}; others are not loaded yet` : "");
    byId("load-more").hidden = here >= all || loaded.sample + loaded.duplicate < allowed;
  }

  // If there are relations that the previous report did not have, start with those.
  function startWithNew() {
    if (state.head.fresh) byId("filter-verdict").value = "new";
  }

  async function loadAll() {
    // the first file of each kind, then the rest; the table is updated every few files
    const pages = state.head.pages;
    const first = asid.KINDS.map((kind) => pages.find((page) => page.kind === kind)).filter(Boolean);
    const order = [...first, ...pages.filter((page) => !first.includes(page))];
    for (let i = loaded.sample + loaded.duplicate; i < Math.min(order.length, allowed); i++) {
      await asid.load(order[i].file);
      loaded[order[i].kind] += 1;
      if (i < first.length || i % 10 === 9 || i === order.length - 1) update();
      await new Promise((resolve) => setTimeout(resolve));
    }
    asid.verdict.forgetWritten();
    update();
  }

  function show(kind) {
    const isNew = view.kind !== kind;
    if (isNew) Object.assign(view, { kind, sort: "score", down: true, page: 0 });
    byId("list-heading").textContent = kind === "sample" ? "Samples" : "Near-duplicates";
    byId("list-note").textContent = (kind === "sample" ? "" : "Pairs that share most of their audio: other masters, edits and copies rather than samples. ")
      + (state.head.detections[kind] > state.head.most ? `The page has the best ${format.count(state.head.most)} of ${format.count(state.head.detections[kind])} places.` : "");
    byId("list-note").hidden = !byId("list-note").textContent;
    drawHead();
    update();
  }

  function filterBy(text) {
    byId("filters").reset();
    byId("filter-verdict").value = "";
    byId("filter-text").value = text;
  }

  // The relation whose link has the focus, and moving to the next one.
  const links = () => [...byId("table-body").querySelectorAll("a.open")];
  const focused = () => view.rows[view.page * PAGE + links().indexOf(document.activeElement)] || null;
  function move(step) {
    const all = links(), at = all.indexOf(document.activeElement);
    if (all.length) all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))].focus();
  }

  function next(id, step) { // the previous or next relation in the order of the table
    const i = view.rows.findIndex((row) => row.id === id);
    return i < 0 ? null : view.rows[i + step] || null;
  }

  function begin() {
    let wait = 0;
    const again = () => { view.page = 0; clearTimeout(wait); wait = setTimeout(update, 120); };
    byId("filters").addEventListener("input", again);
    byId("filters").addEventListener("reset", () => setTimeout(() => { view.page = 0; update(); }));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    asid.verdict.begin();
    startWithNew();
    const turn = (page) => { view.page = page; drawRows(); byId("table").scrollIntoView({ block: "start" }); };
    byId("page-first").addEventListener("click", () => turn(0));
    byId("page-previous").addEventListener("click", () => turn(view.page - 1));
    byId("page-next").addEventListener("click", () => turn(view.page + 1));
    byId("load-more").addEventListener("click", () => { allowed += AUTOMATIC; loadAll(); });
    return loadAll();
  }

  return { begin, show, filterBy, next, view, commonWord, update, focused, move };
})();
