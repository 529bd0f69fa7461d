// Every score with its limit: what is kept, and what another limit would keep. All sums come from the bars, which were counted
// over every segment of the release.
(() => {
  const place = section("limits");
  const WIDTH = 360, HEIGHT = 110, FOOT = 18;
  const now = data.flow.accepted_ms;

  /** The limit below bar i. */
  const edge = (curve, i) => curve.origin + (curve.first + i) * curve.step;
  const digits = (curve) => Math.max(0, Math.min(6, Math.ceil(-Math.log10(curve.step)) + (curve.step < 1 ? 1 : 0)));
  const shown = (curve, value) => `${round(value, digits(curve))}${curve.unit ? ` ${curve.unit}` : ""}`;

  /** Kept time for the limit below bar i: with the other rules as they are, and by this rule alone. */
  function keptAt(curve, i) {
    let kept = curve.unscored_kept_ms, other = curve.unscored_other_ms;
    for (let bar = 0; bar < curve.kept_ms.length; bar++) {
      if (curve.upper ? bar < i : bar >= i) { kept += curve.kept_ms[bar]; other += curve.other_ms[bar]; }
    }
    return { kept, alone: kept + other };
  }

  function card(curve) {
    const bars = curve.kept_ms.length, total = curve.kept_ms.map((ms, i) => ms + curve.other_ms[i]);
    const most = Math.max(1, ...total), x = (i) => (i * WIDTH) / bars;
    const start = curve.limit === null ? (curve.upper ? bars : 0) : -curve.first;
    const svg = draw("svg", { viewBox: `0 -6 ${WIDTH} ${HEIGHT + FOOT + 8}`, role: "group", "aria-label": `Distribution of ${curve.score}` });
    const rects = total.map((ms, i) => {
      const range = `${shown(curve, edge(curve, i))} to ${shown(curve, edge(curve, i + 1))}`;
      const ends = i === 0 ? "below " + shown(curve, edge(curve, 1)) : i === bars - 1 ? "above " + shown(curve, edge(curve, i)) : range;
      const text = `${curve.score} ${ends}\n${hours(ms)} in ${number(curve.segments[i])} segments\n${hours(curve.kept_ms[i])} that no other rule rejects`;
      const top = HEIGHT - (ms / most) * HEIGHT, split = HEIGHT - (curve.kept_ms[i] / most) * HEIGHT;
      const limits = { score: curve.score, from: i === 0 ? -Infinity : edge(curve, i), to: i === bars - 1 ? Infinity : edge(curve, i + 1) };
      return draw("g", { ...(ms ? action(() => filterSegments(limits)) : {}), "data-tip": text, "aria-label": text.replaceAll("\n", ", ") },
        draw("rect", { x: x(i), y: 0, width: x(1), height: HEIGHT, fill: "transparent" }),
        draw("rect", { x: x(i) + 0.5, y: top, width: Math.max(0.5, x(1) - 1), height: Math.max(0, split - top), class: "other" }),
        draw("rect", { x: x(i) + 0.5, y: split, width: Math.max(0.5, x(1) - 1), height: HEIGHT - split, class: "bar" }));
    });
    const sums = Array.from({ length: bars + 1 }, (_, i) => keptAt(curve, i));
    const high = Math.max(1, ...sums.map((sum) => sum.kept));
    const points = sums.map((sum, i) => `${x(i)},${HEIGHT - (sum.kept / high) * HEIGHT}`).join(" ");
    const moved = draw("line", { class: "limit", y1: -6, y2: HEIGHT });
    svg.append(draw("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "axis" }), ...rects,
      draw("polyline", { points, class: "line", "pointer-events": "none" }), moved,
      draw("text", { x: 0, y: HEIGHT + FOOT - 3, class: "soft" }, shown(curve, edge(curve, 0))),
      draw("text", { x: WIDTH, y: HEIGHT + FOOT - 3, "text-anchor": "end", class: "soft" }, shown(curve, edge(curve, bars))));
    if (curve.limit !== null) {
      svg.append(draw("line", { class: "now", x1: x(start), x2: x(start), y1: -6, y2: HEIGHT, "pointer-events": "none" }));
    }
    const said = make("output", { "aria-live": "polite" });
    const slider = make("input", { type: "range", min: 0, max: bars, step: 1, value: start, "aria-label": curve.setting,
      oninput: () => update(Number(slider.value)) });

    function update(i) {
      moved.setAttribute("x1", x(i));
      moved.setAttribute("x2", x(i));
      rects.forEach((rect, bar) => {
        rect.lastChild.setAttribute("class", (curve.upper ? bar < i : bar >= i) ? "kept" : "rejected");
      });
      const sum = sums[i], less = sum.kept - now;
      slider.setAttribute("aria-valuetext", shown(curve, edge(curve, i)));
      said.textContent = `${curve.upper ? "At most" : "At least"} ${shown(curve, edge(curve, i))}` +
        `${i === start ? (curve.limit === null ? " (the rule is off)" : " (as it is)") : ""}: keeps ${hours(sum.kept)}` +
        (less ? `, ${hours(Math.abs(less))} ${less < 0 ? "less" : "more"} than now (${less > 0 ? "+" : "−"}${share(Math.abs(less), now)})` : "") +
        `. By this rule alone ${hours(sum.alone)}.`;
    }
    update(start);

    const beside = data.clips.filter((clip) => clip.setting === curve.setting);
    const list = (accepted) => beside.filter((clip) => clip.accepted === accepted).map((clip) => clipLine(clip, curve));
    const changes = sums.some((sum) => sum.kept !== sums[start].kept) || curve.other_ms.some((ms, i) => ms && (curve.upper ? i >= start : i < start));
    const box = make("div", { class: "card" }, make("h3", {}, curve.setting), make("p", { class: "soft" }, `${curve.meaning}. Reason: ${curve.reason}.`),
      svg, slider, said,
      beside.length ? make("details", { open: beside.some((clip) => !clip.accepted) }, make("summary", {}, "Listen on both sides"),
        make("h3", {}, "Rejected"), list(false).length ? list(false) : make("p", { class: "soft" }, "none"),
        make("h3", {}, "Accepted"), list(true).length ? list(true) : make("p", { class: "soft" }, "none")) : null);
    return { box, changes, name: `${curve.setting} ${curve.reason} ${curve.meaning}`.toLowerCase() };
  }

  function clipLine(clip, curve) {
    const segment = data.segments[clip.key] || {};
    return make("div", { class: "clip" }, playButton(clip.key), make("span", {},
      clip.value === null ? "" : make("b", {}, `${curve ? shown(curve, clip.value) : number(clip.value)} `),
      segment.text || "no text", " ", make("span", { class: "soft" }, clip.key,
        segment.accepted ? "" : ` · ${(segment.reasons || []).join(", ")}`)));
  }

  const cards = data.curves.map(card);
  const grid = make("div", { class: "cards" }, cards.map((one) => one.box));
  const only = make("input", { type: "checkbox", id: "only", onchange: filter });
  const search = make("input", { type: "search", id: "rule", placeholder: "score or reason", "aria-label": "Find a score", oninput: filter });
  function filter() {
    for (const one of cards) one.box.hidden = (only.checked && !one.changes) || !one.name.includes(search.value.toLowerCase());
  }
  place.append(
    make("p", {}, "Move a limit to see what it would keep with the other limits as they are. Click a bar to list its segments. Segments that " +
      "were rejected before a score was measured have none, and no limit brings them back."),
    make("p", { class: "legend" }, make("span", {}, make("i", { class: "kept" }), "kept by this limit"),
      make("span", {}, make("i", { class: "rejected" }), "rejected by this limit alone"), make("span", {}, make("i", { class: "other" }), "rejected by another rule too"),
      make("span", {}, make("i", { class: "mark" }), "the limit; dashed: as it is"), make("span", {}, "line: hours kept at each limit")),
    make("div", { class: "controls" }, search, make("label", {}, only, "only limits that change something")));
  if (data.without_sound.length) place.append(make("p", { class: "soft" }, data.without_sound.join(". ")));
  place.append(cards.length ? grid : make("p", { class: "soft" }, "No segment has a score."));
  const unlimited = data.clips.filter((clip) => !clip.setting);
  if (unlimited.length) {
    const reasons = [...new Set(unlimited.map((clip) => clip.reason))];
    place.append(block("Rejected for reasons without a score", make("div", { class: "cards" }, reasons.map((reason) => make("div", { class: "card" },
      make("h3", {}, reason), unlimited.filter((clip) => clip.reason === reason).map((clip) => clipLine(clip, null)))))));
  }
})();
