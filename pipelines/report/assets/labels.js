// Where the names in the network stand: none covers the head of an arrow, a circle or another name, and
// only the most important may cover a line. What has no room is left out.
"use strict";

asid.labels = (() => {
  const FONT_PX = 12, LINE_PX = 15, GAPS_PX = [4, 18], CELL_PX = 48;
  const MOST = 300; // names at once: more are never read
  const POINTS = 24; // looked at along each arrow
  const SIDES = [["center", "bottom"], ["right", "center"], ["left", "center"], ["center", "top"], ["right", "bottom"], ["left", "bottom"], ["right", "top"], ["left", "top"]];
  const ALWAYS = 8; // of the first, which may cover lines where there is no room, and stand beyond the heads of arrows
  const ruler = document.createElement("canvas").getContext("2d");

  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const middle = (p, q) => ({ x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 });

  // Boxes by the cells of a grid that they touch, so that few are compared.
  function grid() {
    const cells = new Map();
    const touched = (box) => {
      const keys = [];
      for (let x = Math.floor(box.left / CELL_PX); x <= box.right / CELL_PX; x++) {
        for (let y = Math.floor(box.top / CELL_PX); y <= box.bottom / CELL_PX; y++) keys.push(x + ":" + y);
      }
      return keys;
    };
    return {
      add: (box) => touched(box).forEach((key) => { if (!cells.has(key)) cells.set(key, []); cells.get(key).push(box); }),
      isFree: (box, owner, overLines) => !touched(box).some((key) => (cells.get(key) || []).some(
        (other) => other.owner !== owner && !(overLines && other.isLine) && meets(box, other))),
    };
  }

  // Points along an arrow as it is drawn: a quadratic curve, its control point given by cytoscape.
  function points(edge, graph) {
    const from = edge.sourceEndpoint(), to = edge.targetEndpoint();
    const bend = (edge.controlPoints() || [middle(from, to)])[0];
    const zoom = graph.zoom(), pan = graph.pan();
    return Array.from({ length: POINTS + 1 }, (_, i) => {
      const t = i / POINTS, a = (1 - t) * (1 - t), b = 2 * t * (1 - t), c = t * t;
      return { x: (a * from.x + b * bend.x + c * to.x) * zoom + pan.x, y: (a * from.y + b * bend.y + c * to.y) * zoom + pan.y };
    });
  }

  // The box of a text beside, below or above a circle, in pixels of the screen.
  function boxOf(node, [h, v], lines, gap) {
    const at = node.renderedPosition(), radius = node.renderedWidth() / 2 + gap;
    const width = Math.max(...lines.map((line) => ruler.measureText(line).width)), height = LINE_PX * lines.length;
    // beside a corner, the circle is not as far out
    const out = h !== "center" && v !== "center" ? radius * 0.7 : radius;
    const left = h === "center" ? at.x - width / 2 : h === "right" ? at.x + out : at.x - out - width;
    const top = v === "center" ? at.y - height / 2 : v === "bottom" ? at.y + out : at.y - out - height;
    return { left, top, right: left + width, bottom: top + height };
  }

  function taken(graph) {
    const all = grid();
    graph.nodes().forEach((node) => {
      const at = node.renderedPosition(), r = node.renderedWidth() / 2;
      all.add({ left: at.x - r, right: at.x + r, top: at.y - r, bottom: at.y + r, owner: node.id() });
    });
    graph.edges().forEach((edge) => points(edge, graph).forEach(({ x, y }, i) => {
      const isLine = i <= POINTS - 3, room = isLine ? 2 : 5; // the head is wider than the line
      all.add({ left: x - room, right: x + room, top: y - room, bottom: y + room, owner: edge.id(), isLine });
    }));
    return all;
  }

  // The best names first: `order` are nodes with {id, lines}.
  function place(graph, order) {
    ruler.font = `${FONT_PX}px system-ui, sans-serif`;
    const all = taken(graph), zoom = graph.zoom(), width = graph.width(), height = graph.height();
    const isSeen = (box) => box.left > 0 && box.top > 0 && box.right < width && box.bottom < height;
    let left = MOST;
    graph.batch(() => {
      order.forEach(({ id, lines }, i) => {
        const node = graph.getElementById(id);
        const choices = GAPS_PX.flatMap((gap) => [lines, lines.slice(0, 1)].flatMap((text) => SIDES.map((side) => ({ gap, text, side, box: boxOf(node, side, text, gap) }))))
          .filter(({ gap, box }) => isSeen(box) && (gap === GAPS_PX[0] || i < ALWAYS));
        const found = left > 0 && (choices.find(({ gap, box }) => gap === GAPS_PX[0] && all.isFree(box)) || (i < ALWAYS && choices.find(({ box }) => all.isFree(box, null, true))));
        if (found) { left -= 1; all.add({ ...found.box, owner: "name of " + id }); }
        const [h, v] = found ? found.side : SIDES[0], gap = found ? found.gap : 0;
        const inward = h !== "center" && v !== "center" ? 0.3 * (node.renderedWidth() / 2 + gap) : 0;
        node.data({ label: found ? found.text.join("\n") : "", h, v, font: FONT_PX / zoom, gap: (gap - inward) / zoom });
      });
      graph.edges().forEach((edge) => {
        const text = edge.data("count"), at = points(edge, graph)[POINTS / 2], half = ruler.measureText(text).width / 2 + 2;
        const box = { left: at.x - half, right: at.x + half, top: at.y - LINE_PX / 2, bottom: at.y + LINE_PX / 2, owner: edge.id() };
        const isFree = text && isSeen(box) && all.isFree(box, edge.id());
        if (isFree) all.add({ ...box, owner: "number of " + edge.id() });
        edge.data({ label: isFree ? text : "", font: FONT_PX / zoom });
      });
    });
  }

  return { place, boxOf, points };
})();
