// Where the hours went: the input on the left, ribbons to what became of it on the right.
(() => {
  const flow = data.flow, place = section("flow");
  const first = flow.reasons.reduce((sum, row) => sum + row.first_ms, 0);
  const input = flow.accepted_ms + flow.rejected_ms + flow.non_speech_ms + flow.failed_ms + flow.quarantined_ms + flow.excluded_ms;
  const goals = [
    { name: "accepted", ms: flow.accepted_ms, kind: "kept", filter: { state: "accepted" } },
    ...flow.reasons.filter((row) => row.first_ms > 0).map((row) => ({
      name: row.reason, ms: row.first_ms, kind: "rejected", remedy: row.remedy, filter: { state: "rejected", reason: row.reason } })),
    { name: "rejected, for unknown reasons", ms: Math.max(0, flow.rejected_ms - first), kind: "rejected" },
    { name: "not speech", ms: flow.non_speech_ms, kind: "other" },
    { name: "windows that failed", ms: flow.failed_ms, kind: "other" },
    { name: "in quarantine", ms: flow.quarantined_ms, kind: "other" },
    { name: "recordings left out on purpose", ms: flow.excluded_ms, kind: "other" },
  ].filter((goal) => goal.ms > 0);

  document.getElementById("release").textContent = data.release.name;
  document.title = `Release ${data.release.name}`;
  document.getElementById("address").textContent = data.release.uri;
  place.append(make("div", { class: "tiles" },
    tile(hours(input), `in, from ${number(flow.recordings)} recordings`),
    tile(hours(flow.accepted_ms), `kept (${share(flow.accepted_ms, input)}) in ${number(flow.samples)} samples`),
    tile(hours(flow.rejected_ms), `rejected in ${number(flow.rejections)} segments`),
    tile(number(data.identities.total), "identities"),
    tile(number(flow.quarantined + flow.partial), "recordings in quarantine, or in part"),
    flow.excluded ? tile(number(flow.excluded), "recordings left out on purpose") : null));

  const chart = make("div");
  place.append(chart, make("p", { class: "legend" },
    make("span", {}, make("i", { class: "kept" }), "accepted"), make("span", {}, make("i", { class: "rejected" }), "rejected, by the first of its reasons"),
    make("span", {}, make("i", { class: "other" }), "no segment")));

  function paint() {
    const width = Math.max(300, chart.clientWidth || 900), label = Math.min(260, width * 0.55);
    const gap = 7, least = 3, row = 17;
    const usable = Math.max(180, Math.min(360, goals.length * 24));
    const scale = usable / (input || 1);
    let left = 0, right = 0, lastLabel = -100;
    const shapes = [];
    for (const goal of goals) {
      const height = goal.ms * scale, thick = Math.max(least, height);
      const [x0, x1] = [24, width - label];
      const bend = (x0 + x1) / 2;
      const path = `M${x0},${left} C${bend},${left} ${bend},${right} ${x1},${right} L${x1},${right + thick} ` +
        `C${bend},${right + thick} ${bend},${left + height} ${x0},${left + height} Z`;
      const text = `${goal.name}: ${hours(goal.ms)}, ${share(goal.ms, input)} of the input`;
      const acts = goal.filter ? action(() => filterSegments(goal.filter)) : { tabindex: 0 };
      shapes.push(draw("path", { ...acts, d: path, class: `${goal.kind} ribbon ${goal.filter ? "pick" : ""}`, "aria-label": text,
        "data-tip": goal.remedy ? `${text}\n${goal.remedy}` : text }));
      const y = Math.max(right + thick / 2 + 4, lastLabel + row);
      lastLabel = y;
      shapes.push(draw("text", { x: x1 + 8, y }, `${goal.name} `, draw("tspan", { class: "soft" }, hours(goal.ms))));
      left += height;
      right = Math.max(right + thick + gap, y + gap - 4);
    }
    shapes.push(draw("rect", { x: 0, y: 0, width: 24, height: Math.max(least, left), class: "other", "data-tip": `input: ${hours(input)}` }));
    const all = Math.max(right, lastLabel + 6, 60);
    chart.replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${all}`, role: "group", "aria-label": "Hours of the input and what became of them" }, shapes));
  }
  paint();
  addEventListener("resize", paint);

  place.append(make("details", { open: goals.length < 14 }, make("summary", {}, "Reasons, with what to do about them"), makeTable("Reasons", [
    { name: "reason", title: "reason", show: (row) => make("button", { type: "button", onclick: () => filterSegments({ state: "rejected", reason: row.reason }) }, row.reason) },
    count("segments", "segments"), time("ms", "time with it"), time("alone_ms", "with no other reason"), words("remedy", "what to do"),
  ], flow.reasons)));
})();
