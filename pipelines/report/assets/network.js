// Who samples whom, as a graph (cytoscape) and, beside it, in words.
"use strict";

asid.networkView = (() => {
  const { el, byId, format, state } = asid;
  const LIST = 30; // of the most sampled
  const SETTLED_MS = 120; // after the last move names are placed again
  let graph = null, shown = null, chosen = null, settling = 0;

  // Nodes and edges that the form asks for: tracks or artists, the best pairs.
  function select() {
    const byArtist = byId("network-group").value === "artist";
    const limit = Number(byId("network-limit").value);
    const withDuplicates = byId("network-duplicates").checked;
    const tracks = state.network.tracks.map(asid.track);
    const nodes = new Map(), edges = new Map();
    const node = (track) => {
      const name = byArtist ? track.artist || "Unknown artist" : track.name;
      const key = byArtist ? name : track.id;
      if (!nodes.has(key)) nodes.set(key, { key, id: "n" + nodes.size, name, track: byArtist ? null : track, year: null, out: [], in: [] });
      const found = nodes.get(key);
      if (track.year && (!found.year || track.year < found.year)) found.year = track.year;
      return found;
    };
    // what tracks share that is perhaps not here: one circle in place of an arrow between any two of them
    const source = (number) => {
      const key = "source:" + number;
      if (!nodes.has(key)) nodes.set(key, { key, id: "n" + nodes.size, name: "Common source", track: null, source: number, year: null, out: [], in: [] });
      return nodes.get(key);
    };
    const wanted = state.network.edges.filter((edge) => withDuplicates || edge[2] === 0).sort((a, b) => b[3] - a[3]);
    const connect = (from, to, kind, score, count, known, id) => {
      const key = from.id + to.id + kind;
      const edge = edges.get(key) || { from, to, kind, score: 0, count: 0, known: false, id };
      if (!edges.has(key)) { edges.set(key, edge); from.out.push(edge); to.in.push(edge); }
      edge.score = Math.max(edge.score, score);
      edge.count += count;
      edge.known = edge.known || Boolean(known);
    };
    for (const [q, r, kind, score, count, known, id, common] of wanted.slice(0, limit)) {
      const from = node(tracks[q]), to = node(tracks[r]);
      if (common === null || byArtist) connect(from, to, kind, score, count, known, id);
      else for (const one of [from, to]) connect(one, source(common), kind, score, 1, true, id);
    }
    return { nodes: [...nodes.values()], edges: [...edges.values()], wanted: wanted.length };
  }

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

  function hue(text) {
    let hash = 7;
    for (const sign of text) hash = (hash * 31 + sign.codePointAt(0)) % 360;
    return hash;
  }

  const sizeOf = (node) => 18 + 12 * Math.sqrt(node.in.length);

  function elements() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const nodes = shown.nodes.map((node) => ({ data: {
      id: node.id, label: "", h: "center", v: "bottom", size: sizeOf(node), font: 12, gap: 4, shape: node.source ? "diamond" : "ellipse",
      color: node.source ? color("--line-strong") : `hsl(${hue((node.track && node.track.artist) || node.name)}, 55%, ${dark ? 62 : 48}%)`,
    } }));
    const edges = shown.edges.map((edge, i) => ({ data: {
      id: "e" + i, source: edge.from.id, target: edge.to.id, width: 1 + 3 * edge.score, line: edge.kind ? "dashed" : "solid",
      head: edge.known && !edge.kind ? "triangle" : "none", count: edge.count > 1 ? "× " + edge.count : "", label: "", font: 12,
    } }));
    return [...nodes, ...edges];
  }

  const gap = (axis, before, after) => (node) => ({ [before]: -1, [after]: 1 }[node.data(axis)] || 0) * node.data("gap");

  function style() {
    return [
      { selector: "node", style: {
        width: "data(size)", height: "data(size)", shape: "data(shape)", "background-color": "data(color)", "border-width": 1, "border-color": color("--ground"), "z-index": "data(size)",
        label: "data(label)", "text-wrap": "wrap", "text-halign": "data(h)", "text-valign": "data(v)", "text-margin-y": gap("v", "top", "bottom"), "text-margin-x": gap("h", "left", "right"),
        "font-size": "data(font)", color: color("--text"), "font-family": "system-ui, sans-serif", "text-background-color": color("--ground"), "text-background-opacity": 0.8 } },
      { selector: "edge", style: {
        width: "data(width)", "line-style": "data(line)", "line-color": color("--line-strong"), "target-arrow-color": color("--line-strong"),
        "target-arrow-shape": "data(head)", "curve-style": "unbundled-bezier", "control-point-distances": 24, "control-point-weights": 0.5, "arrow-scale": 0.9, opacity: 0.8,
        label: "data(label)", "font-size": "data(font)", color: color("--text"), "text-background-color": color("--ground"), "text-background-opacity": 1,
        "text-background-padding": 1, "text-background-shape": "roundrectangle", "font-family": "system-ui, sans-serif" } },
      { selector: ".faded", style: { opacity: 0.12 } },
      { selector: "node.chosen", style: { "border-width": 4, "border-color": color("--accent") } },
    ];
  }

  // d3-force: 2000 pairs take a second, cytoscape's own layouts half a minute
  function layout() {
    const points = shown.nodes.map((node) => ({ id: node.id, size: sizeOf(node), year: node.year }));
    const links = shown.edges.map((edge) => ({ source: edge.from.id, target: edge.to.id }));
    const rounds = points.length > 1000 ? 100 : 300; // of many points no one sees the last touch
    const byYear = byId("network-layout").value === "year" && fixYears(points);
    d3.forceSimulation(points).stop()
      .force("link", d3.forceLink(links).id((point) => point.id).distance(110).strength(byYear ? 0.05 : 0.7))
      .force("charge", d3.forceManyBody().strength(-320).distanceMax(900))
      .force("collide", d3.forceCollide((point) => point.size / 2 + 22))
      .force("x", d3.forceX().strength(0.06))
      .force("y", d3.forceY().strength(0.09)) // the frame is wider than high
      .alphaDecay(1 - 0.001 ** (1 / rounds)).tick(rounds);
    return { name: "preset", positions: Object.fromEntries(points.map(({ id, x, y }) => [id, { x, y }])), padding: 30 };
  }

  // From left to right by year, those of unknown year before the rest; up and down is left to the forces.
  function fixYears(points) {
    const years = points.map((point) => point.year).filter(Boolean);
    if (!years.length) return false;
    const first = Math.min(...years), width = 200 * Math.sqrt(points.length), step = width / Math.max(1, Math.max(...years) - first);
    for (const point of points) point.fx = point.year ? (point.year - first) * step : -0.15 * width;
    return true;
  }

  function draw() {
    shown = select();
    if (graph) graph.destroy();
    graph = cytoscape({ container: byId("graph"), elements: elements(), style: style(), layout: layout(), minZoom: 0.05, maxZoom: 4 });
    graph.on("pan zoom resize dragfree", () => { clearTimeout(settling); settling = setTimeout(name, SETTLED_MS); });
    graph.on("tap", "node", (event) => choose(shown.nodes[Number(event.target.id().slice(1))]));
    graph.on("tap", (event) => { if (event.target === graph) choose(null); });
    const least = Math.min(shown.wanted, Number(byId("network-limit").value));
    const what = byId("network-group").value === "artist" ? "artists" : "tracks";
    byId("network-status").textContent = shown.edges.length
      ? `${format.count(shown.nodes.filter((node) => !node.source).length)} ${what}, the best ${format.count(least)} of ${format.count(state.network.pairs)} pairs`
      : "No pairs to show.";
    byId("network-layout").querySelector('[value="year"]').disabled = !shown.nodes.some((node) => node.year);
    choose(null);
  }

  // The most sampled first. The chosen one and its neighbours come before all others.
  function name() {
    const near = new Set(chosen ? [chosen, ...chosen.in.map((edge) => edge.from), ...chosen.out.map((edge) => edge.to)] : []);
    const order = shown.nodes.slice().sort((a, b) => near.has(b) - near.has(a) || b.in.length - a.in.length || b.out.length - a.out.length);
    asid.labels.place(graph, order.map((node) => ({ id: node.id, lines: [short(node.name, 26), ...(node.year ? [String(node.year)] : [])] })));
  }

  function choose(node) {
    chosen = node;
    graph.elements().removeClass("faded chosen");
    if (node) {
      const one = graph.getElementById(node.id);
      graph.elements().not(one.closedNeighborhood()).addClass("faded");
      one.addClass("chosen");
    }
    name();
    byId("network-side").replaceChildren(...(node ? describe(node) : overview()));
  }

  function button(node, ...after) {
    return el("li", {}, el("button", { type: "button", class: "plain", onclick: () => { choose(node); bring(node); } }, el("bdi", {}, short(node.name, 80))), ...after);
  }

  function finding(edge) {
    const score = format.score(edge.score);
    return state.byId.has(edge.id) ? el("a", { href: "#r" + edge.id, "aria-label": `Open the finding, score ${score}` }, score) : score;
  }

  function bring(node) {
    graph.animate({ fit: { eles: graph.getElementById(node.id).closedNeighborhood(), padding: 60 }, duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 300 });
  }

  function overview() {
    const most = (way) => shown.nodes.filter((node) => node[way].length && !node.source).sort((a, b) => b[way].length - a[way].length).slice(0, LIST);
    const list = (way) => el("ol", {}, ...most(way).map((node) => button(node, ` ${node[way].length}`)));
    const sources = shown.nodes.filter((node) => node.source);
    const common = sources.length ? [el("h3", {}, "Common sources, perhaps not in the catalogue"), el("ul", {}, ...sources.map((node) => button(node, ` of ${node.in.length} tracks`)))] : [];
    return [el("h3", {}, "Most sampled"), list("in"), ...common, el("h3", {}, "Sampling most"), list("out")];
  }

  function describe(node) {
    const list = (title, edges, other) => edges.length
      ? [el("h3", {}, title), el("ul", {}, ...edges.slice().sort((a, b) => b.score - a.score).slice(0, 100).map((edge) => button(edge[other], " ", finding(edge), edge.kind ? " near-duplicate" : "")))] : [];
    const words = node.source ? node.key : (node.track ? node.track.id : node.name).slice(0, 200);
    const finds = el("a", { class: "button", href: "#samples", onclick: () => asid.table.filterBy(words) }, node.source ? "Show them in the list" : "Show its samples in the list");
    const what = node.source ? "Share one thing, which is perhaps not in the catalogue" : "Sampled by";
    return [el("button", { type: "button", onclick: () => { choose(null); graph.fit(undefined, 30); } }, "All"),
      el("h3", { class: "chosen" }, node.track ? asid.titleOf(node.track, true) : el("bdi", {}, node.name)),
      ...list("Samples", node.out, "to"), ...list(what, node.in, "from"), el("p", {}, finds)];
  }

  function find() {
    const text = byId("network-find").value.trim().toLowerCase();
    const node = text && shown.nodes.find((one) => one.name.toLowerCase().includes(text) || (one.track && one.track.text.includes(text)));
    choose(node || null);
    if (node) bring(node);
    else graph.fit(undefined, 30);
    if (text && !node) byId("network-side").replaceChildren(el("p", {}, "No track here has that in its name."));
  }

  async function layoutLoaded() {
    await Promise.all(["dispatch", "quadtree", "timer"].map((name) => asid.load(`vendor/d3-${name}.min.js`)));
    await asid.load("vendor/d3-force.min.js");
  }

  async function show() {
    if (graph) { graph.resize(); return; }
    try {
      await Promise.all([asid.load("data/network.js"), asid.load("vendor/cytoscape.min.js"), layoutLoaded()]);
    } catch (error) {
      byId("network-status").textContent = error.message;
      return;
    }
    draw();
    const zoom = (factor) => graph.zoom({ level: graph.zoom() * factor, renderedPosition: { x: graph.width() / 2, y: graph.height() / 2 } });
    byId("zoom-in").addEventListener("click", () => zoom(1.4));
    byId("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
    byId("zoom-fit").addEventListener("click", () => graph.fit(undefined, 30));
    for (const id of ["network-group", "network-layout", "network-limit", "network-duplicates"]) byId(id).addEventListener("change", draw);
    byId("network-find").addEventListener("input", find);
    byId("network-form").addEventListener("submit", (event) => event.preventDefault());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }

  return { show, name, graph: () => graph };
})();
