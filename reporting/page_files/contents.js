// What the release holds, what is doubtful in it, what it took, and what changed.
(() => {
  /** Vertical bars: `parts` are [class, name, value of a row]; `name` and `tip` describe a row. */
  function columnsChart(label, rows, parts, name, tipOf) {
    const width = 420, height = 120, most = Math.max(1, ...rows.map((row) => parts.reduce((sum, part) => sum + part[2](row), 0)));
    const x = (i) => (i * width) / Math.max(1, rows.length), shapes = [];
    rows.forEach((row, i) => {
      let y = height;
      const rects = parts.map(([kind, , value]) => {
        const tall = (value(row) / most) * height;
        y -= tall;
        return draw("rect", { x: x(i) + 0.5, y, width: Math.max(0.5, x(1) - 1), height: tall, class: kind });
      });
      shapes.push(draw("g", { tabindex: 0, "data-tip": tipOf(row), role: "img", "aria-label": tipOf(row) },
        draw("rect", { x: x(i), y: 0, width: x(1), height, fill: "transparent" }), rects));
    });
    const last = rows.length - 1;
    return make("div", {}, draw("svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "group", "aria-label": label },
      draw("line", { x1: 0, x2: width, y1: height, y2: height, class: "axis" }), shapes,
      last >= 0 ? [draw("text", { x: 0, y: height + 14, class: "soft" }, name(rows[0])),
        draw("text", { x: width, y: height + 14, "text-anchor": "end", class: "soft" }, name(rows[last]))] : null));
  }

  const holds = section("contents"), people = data.identities;
  holds.append(make("div", { class: "columns" },
    block("Durations", columnsChart("Segments by duration", data.durations,
      [["kept", "accepted", (row) => row.accepted_ms], ["rejected", "rejected", (row) => row.rejected_ms]], (row) => `${row.second} s`,
      (row) => `${row.second} to ${row.second + 1} s\naccepted: ${hours(row.accepted_ms)} in ${number(row.accepted)}\nrejected: ${hours(row.rejected_ms)} in ${number(row.rejected)}`)),
    block("Phones", columnsChart("Phones by frequency", data.phones.rows, [["kept", "times", (row) => Math.sqrt(row.times)]], (row) => row.phone,
      (row) => `${row.phone}: ${number(row.times)} times`),
      make("p", { class: "soft" }, "Height is the square root of the count. ", data.phones.every > 1 ? `Counted in every ${data.phones.every}th sample. ` : "",
        `Never: ${data.phones.rows.filter((row) => !row.times).map((row) => row.phone).join(" ") || "none"}`)),
    block("Splits", makeTable("Splits", [plain("split", "split"), time("ms", "time"), count("samples", "samples"), count("identities", "identities"),
      count("speakers", "speakers"), count("recordings", "recordings")], data.splits)),
    block("Languages", makeTable("Languages", [plain("language", "language"), time("accepted_ms", "accepted"), time("rejected_ms", "rejected"),
      count("segments", "segments")], data.languages)),
    block(`Speakers: ${number(data.speakers.total)}`, makeTable("Speakers", [key("speaker", "speaker"), time("accepted_ms", "accepted"),
      time("rejected_ms", "rejected"), count("segments", "segments"), count("dnsmos_ovrl", "mean DNSMOS"), count("snr_db", "mean SNR")], data.speakers.rows)),
    block(`Identities: ${number(people.total)}`, make("p", { class: "soft" },
      `${number(people.named)} named, ${number(people.linked)} of several voices, ${number(people.conflicts)} with a name that stands for two voices, ` +
      `${number(people.duplicates)} that are probably another one's`), people.doubt ? make("p", {}, people.doubt) : null,
      makeTable("Identities", [key("identity", "identity"), plain("name", "name"), plain("split", "split"), time("speech_ms", "speech"),
        count("recordings", "recordings"), count("voices", "voices"), count("confidence", "confidence"),
        count("duplicate_probability", "P(same as nearest)"), key("nearest", "nearest")], people.rows)),
    block("Licenses", makeTable("Licenses", [plain("license", "license"), words("consent_basis", "consent basis"), count("samples", "samples"), time("ms", "time")],
      data.licenses)),
    data.codecs.length ? block("Codecs", makeTable("Codecs", [words("name", "name"), words("weights", "weights"), key("sha256", "hash"), words("heard", "")],
      data.codecs.map((row) => ({ ...row, name: row.codec ?? "the first", sha256: row.sha256.slice(0, 16), heard: row.heard ? "samples are heard by it" : "" })))) : null));

  const doubtful = section("doubtful");
  doubtful.append(make("p", {}, "Accepted samples whose text may be invented, though every rule lets it through."),
    make("div", { class: "columns" }, data.suspected.filter((row) => row.samples).map((row) => make("div", { class: "card" },
      make("h3", {}, `${row.name.replaceAll("_", " ")}: ${number(row.samples)} samples, ${hours(row.ms)}`), make("p", { class: "soft" }, row.meaning),
      row.examples.map((one) => make("div", { class: "clip" }, playButton(one.key), make("span", {}, one.text, " ", make("span", { class: "soft" }, one.key))))))),
    data.suspected.some((row) => row.samples) ? null : make("p", { class: "soft" }, "None."),
    make("div", { class: "columns" },
      block(`Texts that occur again: ${number(data.repeated.texts)}, in ${number(data.repeated.samples)} samples (${hours(data.repeated.ms)}); ${number(data.repeated.across)} in several recordings`,
        makeTable("Repeated texts", [words("text", "text"), count("times", "times"), count("recordings", "recordings"), time("ms", "time"), key("first_key", "e.g.")],
          data.repeated.rows)),
      block("Probably the same speech twice", make("p", { class: "soft" }, "By text: the same long words and the same length in another recording. By sound: the same codes."),
        makeTable("Near-duplicates", [plain("by", "by"), count("times", "times"), time("ms", "time"), key("first_key", "one"), key("last_key", "another")],
          [...data.duplicates.sound.map((row) => ({ by: "sound", ...row })), ...data.duplicates.text.map((row) => ({ by: row.same_sound ? "text and sound" : row.same_sound === null ? "text, sounds not compared" : "text", ...row }))]))));

  const costs = data.costs, audio = costs.audio_ms || 1, kept = costs.accepted_ms || 1;
  const stages = costs.stages.map((row) => ({ ...row, perAudio: (row.seconds * 1000) / audio, perKept: (row.seconds * 1000) / kept, part: row.seconds / (costs.seconds || 1) }));
  section("costs").append(
    costs.records.length ? make("div", { class: "tiles" }, tile(`${round(costs.seconds / 3600, 2)} h`, "of worker processes in the stages"),
      tile(round((costs.seconds * 1000) / audio, 3), "worker-hours per hour of audio"), tile(round((costs.seconds * 1000) / kept, 3), "worker-hours per accepted hour"))
      : make("p", { class: "soft" }, "There are no records of builds up to this release: an earlier voxbeam built it, or they were deleted."),
    costs.unreadable ? make("p", {}, `${number(costs.unreadable)} records of builds cannot be read and are not counted.`) : "",
    costs.left_out ? make("p", {}, `Only the latest records are counted; ${number(costs.left_out)} earlier ones are left out.`) : "",
    make("div", { class: "columns" },
      block("By stage", makeTable("Stages", [plain("stage", "stage"), { ...count("seconds", "worker time"), show: (row) => hours(row.seconds * 1000) },
        { ...count("part", "share"), show: (row) => share(row.part, 1) }, count("perAudio", "h per audio hour"), count("perKept", "h per accepted hour")], stages)),
      block("Builds", makeTable("Builds", [plain("release", "release"), plain("started", "started"), { ...count("wall_s", "took"), show: (row) => hours(row.wall_s * 1000) },
        count("recordings", "recordings"), count("units", "units"), count("reused_units", "reused"), time("accepted_ms", "accepted")], costs.records)),
      block("Slowest units", makeTable("Slowest units", [key("recording", "recording"), { ...count("start_ms", "from"), show: (row) => hours(row.start_ms) },
        { ...count("end_ms", "audio"), show: (row) => hours(row.end_ms - row.start_ms) }, { ...count("seconds", "took"), show: (row) => hours(row.seconds * 1000) },
        plain("stage", "longest stage"), { ...count("stage_seconds", "in it"), show: (row) => hours(row.stage_seconds * 1000) }], costs.slowest)),
      block("Failed", data.failures.rows.length ? makeTable("Failed", [key("recording", "recording"), plain("status", "status"), plain("stage", "stage"), plain("reason", "reason"),
        words("error", "error"), words("remedy", "what to do")], data.failures.rows) : make("p", { class: "soft" }, "Nothing."))));

  const changes = section("changes"), old = data.comparison;
  if (!old) changes.append(make("p", { class: "soft" }, "This is the first release."));
  else if (old.unreadable) changes.append(make("p", {}, `Release ${old.number} cannot be compared: ${old.unreadable}.`));
  else {
    const ms = (name) => name.endsWith("_ms");
    const both = [["before", "before"], ["now", "now"]].map(([name, title]) => ({ name, title, number: true,
      show: (row) => (ms(row.name || "") ? hours(row[name]) : number(row[name])) }));
    changes.append(make("p", {}, `Compared with release ${old.number}: ${number(old.samples.came.n)} samples (${hours(old.samples.came.ms)}) came, ` +
      `${number(old.samples.went.n)} (${hours(old.samples.went.ms)}) went` +
      (old.samples.rejected_now.length ? `, of these rejected now: ${old.samples.rejected_now.map((row) => `${number(row.n)} as ${row.reason}`).join(", ")}` : "") + "."),
      make("div", { class: "columns" }, block("Counts", makeTable("Counts", [plain("name", "what"), ...both], old.counts)),
        block("Settings and models", old.settings.length ? makeTable("Settings", [key("name", "key"), words("before", "before"), words("now", "now")], old.settings)
          : make("p", { class: "soft" }, "None changed.")),
        block("Reasons", makeTable("Reasons before and now", [plain("reason", "reason"), time("before_ms", "before"), time("now_ms", "now")], old.reasons)),
        block("Mean scores of samples", makeTable("Mean scores", [plain("score", "score"), count("before", "before"), count("now", "now")], old.scores))));
  }
})();
