// Shows the view that the address names after #. Starts when the first data file has loaded.
"use strict";

(() => {
  const { byId, el, format, state } = asid;
  const VIEWS = ["list", "relation", "network", "exports"];
  const EXPORTS = {
    "relations.csv": "Who samples whom: one row per pair of tracks, for spreadsheets",
    "relations.jsonl": "The same as JSON Lines, for programs",
    "relations.parquet": "The same as Parquet, for DuckDB and pandas",
    "detections.csv": "Every place, with Panako's columns, separated by semicolons",
    "detections.jsonl": "Every place with all columns, titles, artists and years, as JSON Lines",
    "detections.parquet": "The same as Parquet, for DuckDB and pandas",
    "network.graphml": "The network, for Gephi, yEd or Cytoscape",
    "sonic-visualiser.zip": "Region layers for Sonic Visualiser, two per track: what it samples, and where it is sampled",
    "audacity-labels.zip": "Label tracks for Audacity, two per track",
  };

  function route() {
    const hash = location.hash.slice(1) || "samples";
    const address = asid.addressed();
    const view = address ? "relation" : { network: "network", exports: "exports" }[hash] || "list";
    const kind = hash === "duplicates" ? "duplicate" : "sample";
    asid.player.stop();
    for (const name of VIEWS) byId("view-" + name).hidden = name !== view;
    if (view === "relation") asid.relation.show(address);
    else if (view === "network") asid.networkView.show();
    else if (view === "list") asid.table.show(kind);
    const current = address ? (address.row || { kind }).kind + "s" : { list: kind + "s" }[view] || hash;
    for (const link of document.querySelectorAll("nav a[data-view]")) {
      if (link.dataset.view === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    return view;
  }

  function describe() {
    const head = state.head;
    document.title = `Samples in ${head.catalogue}`;
    byId("title").replaceChildren("Samples in ", el("bdi", {}, head.catalogue));
    byId("subtitle").textContent = `${format.count(head.tracks)} tracks, ${format.count(head.shown.sample)} pair${head.shown.sample === 1 ? "" : "s"} with samples, ${format.count(head.shown.duplicate)} near-duplicate${head.shown.duplicate === 1 ? "" : "s"}, ${format.count(head.places)} places. Made ${head.made}.`;
    for (const kind of asid.KINDS) byId("count-" + kind).textContent = format.count(head.shown[kind]);
    byId("exports-list").replaceChildren(...head.exports.flatMap((name) => [
      el("dt", {}, el("a", { href: "exports/" + name, download: name }, name)), el("dd", {}, EXPORTS[name] || "")]));
    const about = [["Catalogue", head.catalogue], ["Sweep", head.sweep], ["Model", head.model || "unknown"], ["Made", head.made]];
    byId("about").replaceChildren(...about.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))]));
  }

  function moved() {
    const view = route();
    scrollTo(0, 0);
    const heading = byId("view-" + view).querySelector("h2");
    if (heading) { heading.tabIndex = -1; heading.focus({ preventScroll: true }); }
  }

  async function begin() {
    await asid.load("data/head.js");
    describe();
    const isRelation = Boolean(asid.addressed());
    if (!isRelation) route();
    await asid.table.begin();
    if (isRelation) route(); // its row has loaded by now
    addEventListener("hashchange", () => { if (location.hash !== "#main") moved(); });
    document.documentElement.dataset.ready = "yes";
    performance.mark("ready");
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") asid.player.stop();
  });
  begin().catch((error) => {
    byId("main").replaceChildren(el("p", { class: "note", role: "alert" }, "Cannot show the findings: " + error.message));
  });
})();
