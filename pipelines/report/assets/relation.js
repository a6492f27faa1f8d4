// One relation: who samples whom, how that is known, all its places, and one place to hear and see.
"use strict";

asid.relation = (() => {
  const { el, byId, format, state, drawing, player } = asid;
  let shown = null; // {row, place}

  function heading(row) {
    const verb = row.kind === "duplicate" ? "shares most of its audio with" : row.by === "unknown" ? "shares a recording with" : "samples";
    return el("h2", { id: "relation-heading", tabindex: "-1" },
      asid.titleOf(row.query, true), el("span", { class: "verb" }, " " + verb + " "), asid.titleOf(row.reference, true));
  }

  function steps(row) {
    const link = (text, other) => other
      ? el("a", { class: "button", href: "#r" + other.id }, text)
      : el("span", { class: "button off", "aria-disabled": "true" }, text);
    const list = row.kind === "sample" ? "samples" : "duplicates";
    return el("nav", { class: "steps", "aria-label": "Relations" },
      el("a", { class: "button", href: "#" + list }, row.kind === "sample" ? "All samples" : "All near-duplicates"),
      link("Previous", asid.table.next(row.id, -1)), link("Next", asid.table.next(row.id, 1)));
  }

  function summary(row) {
    const count = `${format.count(row.places)} place${row.places === 1 ? "" : "s"}, ${format.clock(row.qs)} in total.`;
    return el("p", {}, count + (row.kind === "sample" ? " " + asid.direction.sentence(row) : ""));
  }

  // Three or more tracks that share the same material.
  function common(row) {
    if (row.common === null) return null;
    const word = asid.table.commonWord(row);
    const tracks = new Set(state.rows.sample.filter((one) => one.common === row.common).flatMap((one) => [one.query, one.reference]));
    const link = el("a", { href: "#samples", onclick: () => asid.table.filterBy(word) }, `${format.count(tracks.size)} tracks that share the same material`);
    const source = row.source ? [". The common source is ", el("bdi", {}, row.source.name), "."] : [": a common source, which may not be in the catalogue."];
    return el("p", { class: "common" }, "One of ", link, ...source);
  }

  const address = (row, place) => `#r${row.id}/${place.qs.toFixed(1)}`;

  function places(row, chosen) {
    const items = [...row.placeList].sort((a, b) => a.qs - b.qs).map((place) => el("li", {},
      el("a", { href: address(row, place), "aria-current": place === chosen ? "true" : null },
        el("span", { class: "query" }, format.span(place.qs, place.qe)), " from ", el("span", { class: "reference" }, format.span(place.rs, place.re))),
      el("span", { class: "how" }, ` ${format.tempo(place.tempo)}, ${format.pitch(place.pitch)}${place.back ? ", backwards" : ""}, score ${format.score(place.score)}`)));
    return el("ol", { class: "place-list", "aria-label": "Places" }, ...items);
  }

  // #r<id> or #r<id>/<seconds>: the place of the query nearest to these seconds, or the best
  function chosen(row, seconds) {
    if (seconds === undefined) return row.placeList[0];
    return row.placeList.reduce((best, place) => (Math.abs(place.qs - seconds) < Math.abs(best.qs - seconds) ? place : best));
  }

  async function show({ row, seconds }) {
    player.stop();
    const view = byId("view-relation");
    shown = null;
    if (!row) {
      view.replaceChildren(el("h2", { id: "relation-heading", tabindex: "-1" }, "No such finding"),
        el("p", {}, "This report does not have the pair that the link names. "), el("p", {}, el("a", { href: "#samples" }, "All samples")));
      return;
    }
    const mine = shown = { row, place: null };
    const body = el("div", { class: "sound" });
    view.replaceChildren(steps(row), heading(row), summary(row), ...[common(row)].filter(Boolean), asid.verdict.panel(row), body);
    try {
      if (!row.placeList) await asid.load(row.file);
      if (mine !== shown) return;
      const place = mine.place = chosen(row, seconds);
      const sound = el("div", { class: "sound" });
      body.replaceWith(sound, drawing.tracks(row, place), ...(row.placeList.length > 1 ? [el("h3", {}, "All places"), places(row, place)] : []),
        asid.place.facts(place), permalink(row, place));
      await asid.place.sound(place, sound);
    } catch (error) {
      if (mine === shown) view.querySelector(".sound").replaceChildren(el("p", { class: "note", role: "alert" }, error.message));
    }
  }

  function permalink(row, place) {
    return el("p", { class: "note" }, "Link to this place, valid in later reports too: ", el("a", { href: address(row, place) }, address(row, place)));
  }

  return { show };
})();
