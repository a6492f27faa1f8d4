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
    const what = row.kind === "duplicate" || row.by === "unknown" ? "Shared" : "Sampled";
    const times = row.times === 1 ? "once" : `${format.count(row.times)} times`;
    return el("p", {}, `${what} ${times}, ${format.clock(row.qs)} in total.` + (row.kind === "sample" ? " " + asid.direction.sentence(row) : ""));
  }

  // Three or more tracks that share the same material.
  function common(row) {
    if (row.common === null) return null;
    const word = asid.table.commonWord(row);
    const tracks = new Set(state.rows.sample.filter((one) => one.common === row.common).flatMap((one) => [one.query, one.reference]));
    const link = el("a", { href: "#samples", onclick: () => asid.table.filterBy(word) }, `${format.count(tracks.size)} tracks that share the same material`);
    const source = row.source ? ["from ", el("bdi", {}, row.source.name), ", or "] : [];
    return el("p", { class: "common" }, "One of ", link, ", ", ...source, "from a source that may not be in the catalogue.");
  }

  const address = (row, place) => `#r${row.id}/${place.qs.toFixed(1)}/${place.rs.toFixed(1)}`;

  // The places by part of the query, each part with its best place first. Repetitive music matches one part in many places.
  function parts(row) {
    const list = [];
    for (const place of [...row.placeList].sort((a, b) => a.qs - b.qs)) {
      const last = list[list.length - 1];
      if (last && place.qs <= last.end) { last.places.push(place); last.end = Math.max(last.end, place.qe); }
      else list.push({ places: [place], end: place.qe });
    }
    return list.map((part) => part.places.sort((a, b) => b.score - a.score));
  }

  function places(row, chosen) {
    const line = (place) => [
      el("a", { href: address(row, place), "aria-current": place === chosen ? "true" : null },
        el("span", { class: "query" }, format.span(place.qs, place.qe)), " from ", el("span", { class: "reference" }, format.span(place.rs, place.re))),
      el("span", { class: "how" }, ` ${format.tempo(place.tempo)}, ${format.pitch(place.pitch)}${place.back ? ", backwards" : ""}, score ${format.score(place.score)}`)];
    const others = (rest) => el("details", { open: rest.includes(chosen) },
      el("summary", {}, rest.length === 1 ? "1 other place matches this part" : `${format.count(rest.length)} other places match this part`),
      el("ul", {}, ...rest.map((place) => el("li", {}, ...line(place)))));
    const items = parts(row).map(([best, ...rest]) => el("li", {}, ...line(best), rest.length ? others(rest) : null));
    return el("ol", { class: "place-list", "aria-label": "Places" }, ...items);
  }

  // The place nearest to the seconds that the address names: in the query first, then in the reference. By default the best.
  function chosen(row, [query, reference]) {
    const far = (place, side, seconds) => (seconds === undefined ? 0 : Math.round(10 * Math.abs(place[side] - seconds)));
    const away = (place) => [far(place, "qs", query), far(place, "rs", reference)];
    const isNearer = (a, b) => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
    return row.placeList.reduce((best, place) => (isNearer(away(place), away(best)) ? place : best));
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
