// A table of some segments, to search and to filter; the charts filter it too.
const filterSegments = (() => {
  const names = data.rows.columns;
  const rows = data.rows.rows.map((values) => {
    const row = Object.fromEntries(names.map((name, i) => [name, values[i]]));
    row.state = row.accepted ? "accepted" : "rejected";
    row.search = `${row.key} ${row.speaker || ""} ${row.text || ""} ${row.reasons.join(" ")}`.toLowerCase();
    return row;
  });
  const scores = names.slice(names.indexOf("duration_ms") + 1);
  const choice = (label, values) => make("select", { "aria-label": label, onchange: apply }, make("option", { value: "" }, `any ${label}`),
    values.map((value) => make("option", { value }, value)));
  const search = make("input", { type: "search", placeholder: "text, key, speaker", "aria-label": "Search segments", oninput: apply });
  const state = choice("state", ["accepted", "rejected"]);
  const reason = choice("reason", [...new Set(rows.flatMap((row) => row.reasons))].sort());
  const split = choice("split", [...new Set(rows.map((row) => row.split).filter(Boolean))].sort());
  const score = choice("score", scores);
  const from = make("input", { type: "number", step: "any", placeholder: "from", "aria-label": "Lowest score", oninput: apply });
  const to = make("input", { type: "number", step: "any", placeholder: "to", "aria-label": "Highest score", oninput: apply });
  const found = make("p", { class: "soft", "aria-live": "polite", id: "found" });
  const table = makeTable("Segments", [
    { name: "sound", title: "", show: (row) => playButton(row.key) || "" },
    key("key", "key"), plain("state", "state"), { name: "reasons", title: "reasons", show: (row) => row.reasons.join(", ") }, plain("split", "split"),
    key("speaker", "speaker"), plain("language", "language"), words("text", "text"), time("duration_ms", "time"), ...scores.map((name) => count(name, name)),
  ], rows, 200);

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [low, high] = [from.value === "" ? -Infinity : Number(from.value), to.value === "" ? Infinity : Number(to.value)];
    const shown = rows.filter((row) => words.every((word) => row.search.includes(word)) &&
      (!state.value || row.state === state.value) && (!reason.value || row.reasons.includes(reason.value)) &&
      (!split.value || row.split === split.value) &&
      (!score.value || (row[score.value] !== null && row[score.value] >= low && row[score.value] <= high)));
    found.textContent = `${number(shown.length)} of ${number(rows.length)} segments`;
    table.update(shown);
  }

  function filterBy(wanted) {
    search.value = "";
    split.value = "";
    state.value = wanted.state || "";
    reason.value = wanted.reason || "";
    score.value = wanted.score || "";
    from.value = Number.isFinite(wanted.from) ? wanted.from : "";
    to.value = Number.isFinite(wanted.to) ? wanted.to : "";
    apply();
    section("segments").scrollIntoView();
    search.focus({ preventScroll: true });
  }

  section("segments").append(
    make("p", {}, `${number(rows.filter((row) => row.accepted).length)} accepted and ${number(rows.filter((row) => !row.accepted).length)} rejected ` +
      "segments; of a large release those with the smallest hashes of their keys. All of them: voxbeam show, or DuckDB (docs/audit.md)."),
    make("div", { class: "controls" }, search, state, reason, split, score, from, to,
      make("button", { type: "button", onclick: () => filterBy({}) }, "Clear")), found, table);
  apply();
  return filterBy;
})();
