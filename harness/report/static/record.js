"use strict";
// What a cell's newest record says: how it ended, its replicates' losses, phases and siblings.
(() => {
  const { chart, copyButton, indent, load, make, plain } = window.mlmatrix;
  const PHASES = ["load", "prepare", "fit", "predict", "score"];

  function digits(value, count = 4) {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-4 || size >= 1e7) return value.toExponential(count - 1);
    return Number(value.toPrecision(count)).toLocaleString("en", {
      maximumSignificantDigits: count,
    });
  }

  function seconds(value) {
    if (value === null || value === undefined) return "–";
    if (value < 1) return `${digits(value * 1000, 3)} ms`;
    return value < 90 ? `${digits(value, 3)} s` : `${digits(value / 60, 3)} min`;
  }

  function bytes(value) {
    if (value === null || value === undefined) return "–";
    let [size, unit] = [value, "B"];
    for (const larger of ["KiB", "MiB", "GiB", "TiB"]) {
      if (size < 1000) break;
      [size, unit] = [size / 1024, larger];
    }
    return `${digits(size, 3)} ${unit}`;
  }

  const writers = { seconds, bytes };
  const write = (value, unit) => (writers[unit] || digits)(value);

  function table(title, heads, rows) {
    const cell = (value, at) => {
      const numeric = at > 0 && !(value instanceof Node && value.classList.contains("badge"));
      const node = value instanceof Node ? value : String(value);
      return make(at ? "td" : "th", at ? { class: numeric ? "n" : null } : { scope: "row" }, node);
    };
    return make(
      "div",
      { class: "scroll", role: "region", tabindex: 0, "aria-label": title },
      make(
        "table",
        { class: "plain" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            heads.map((head, at) =>
              make("th", { scope: "col", class: at && head !== "outcome" ? "n" : null }, head),
            ),
          ),
        ),
        make(
          "tbody",
          {},
          rows.map((row) => make("tr", {}, row.map(cell))),
        ),
      ),
    );
  }

  function section(id, title, ...children) {
    return make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...children);
  }

  function losses(record) {
    const shown = (record.result?.replicates || []).filter(
      (one) => one.history.train.length || one.history.validation.length,
    );
    if (!shown.length) return null;
    const every = shown.flatMap((one) => [...one.history.train, ...one.history.validation]);
    const [low, high] = [Math.min(...every), Math.max(...every)];
    const logarithmic = low > 0 && high / low > 20;
    const epochs = Math.max(...shown.map((one) => one.epochs));
    return chart({
      title: "Loss",
      words: `By epoch: from ${digits(high)} to ${digits(low)} over ${epochs} epochs, ${shown.length} replicates; dashed is training, solid validation, a diamond the best epoch.`,
      columns: () => [
        ["epoch", [...Array(epochs).keys()].map((at) => at + 1)],
        ...shown.flatMap((one) =>
          ["train", "validation"].map((part) => [
            `replicate ${one.index}, ${part}`,
            [...Array(epochs).keys()].map((at) => digits(one.history[part][at])),
          ]),
        ),
      ],
      build: (colors) => ({
        data: shown.flatMap((one, number) => {
          const color = colors.series[number % colors.series.length];
          const line = (part, dash) => ({
            type: "scatter",
            mode: "lines",
            name: `replicate ${one.index}, ${part}`,
            legendgroup: `${one.index}`,
            showlegend: part === "train" ? !one.history.validation.length : true,
            x: one.history[part].map((_, at) => at + 1),
            y: one.history[part],
            line: { color, dash, width: part === "train" ? 1.25 : 2 },
            hovertemplate: "epoch %{x}: %{y:.5g}<extra>%{fullData.name}</extra>",
          });
          const best = one.best_epoch;
          const traces = [line("train", "dot"), line("validation", "solid")];
          if (best && one.history.validation.length >= best) {
            traces.push({
              type: "scatter",
              mode: "markers",
              name: `replicate ${one.index}, best epoch`,
              showlegend: false,
              x: [best],
              y: [one.history.validation[best - 1]],
              marker: { symbol: "diamond", size: 9, color },
              hovertemplate: "best epoch %{x}: %{y:.5g}<extra>%{fullData.name}</extra>",
            });
          }
          return traces;
        }),
        layout: {
          height: 300,
          yaxis: { type: logarithmic ? "log" : "linear" },
        },
      }),
    });
  }

  function phases(record) {
    const shown = record.result?.replicates || [];
    const used = PHASES.filter((phase) => shown.some((one) => one.timings[phase] > 0));
    if (!used.length) return null;
    const names = shown.map((one) => `replicate ${one.index}`);
    const total = shown.reduce((sum, one) => sum + used.reduce((s, p) => s + one.timings[p], 0), 0);
    return chart({
      title: "Time by phase",
      words: `${seconds(total)} in ${names.length === 1 ? "one replicate" : `${names.length} replicates`}.`,
      columns: () => [
        ["replicate", names],
        ...used.map((phase) => [phase, shown.map((one) => seconds(one.timings[phase]))]),
      ],
      build: (colors) => ({
        data: used.map((phase) => ({
          type: "bar",
          orientation: "h",
          name: phase,
          y: names,
          x: shown.map((one) => one.timings[phase]),
          marker: { color: colors.series[PHASES.indexOf(phase)] },
          hovertemplate: "%{y}: %{x:.4g} s<extra>%{fullData.name}</extra>",
        })),
        layout: {
          barmode: "stack",
          height: 120 + 34 * names.length,
          showlegend: true,
          legend: { orientation: "h", y: 1.25, x: 0, traceorder: "normal" },
          xaxis: { title: { text: "seconds" }, rangemode: "tozero" },
          yaxis: { autorange: "reversed" },
        },
      }),
    });
  }

  function siblings(newest) {
    const link = (cell) => make("a", { href: `cell.html#${encodeURIComponent(cell)}` }, cell);
    const rows = newest.siblings.map(
      ([cell, framework, own, state, word, metric, value, spread, fit, total, memory]) => [
        own
          ? make("strong", {}, `${framework} (this cell)`)
          : make("span", {}, framework, " ", link(cell)),
        make("span", { class: `badge ${state}` }, word),
        value === null ? "–" : `${digits(value)} ± ${digits(spread, 2)}`,
        seconds(fit),
        seconds(total),
        bytes(memory),
      ],
    );
    const metric = newest.siblings.find((one) => one[2])?.[5] || "score";
    const parts = [
      table(
        "Table of siblings",
        ["framework", "outcome", metric, "fit", "total", "peak memory"],
        rows,
      ),
    ];
    if (newest.siblings.length < 2)
      parts.unshift(
        make("p", { class: "calm" }, "No other framework ran this dataset and algorithm."),
      );
    if (newest.ladder) {
      const words = newest.ladder.rungs.map((rung) => [
        make("span", {}, rung.name, " ", make("small", {}, rung.limit)),
        ...rung.entries.map((entry) =>
          make("span", { class: entry.state === "passed" ? null : entry.state }, entry.word),
        ),
      ]);
      parts.push(
        make(
          "p",
          { class: "calm" },
          "Largest differences, from the same initial weights and row order:",
        ),
        table("Parity", ["rung", ...newest.ladder.frameworks.map((name) => `with ${name}`)], words),
      );
    }
    return parts;
  }

  function verdicts(record) {
    const rows = record.verdicts.map((one) =>
      make(
        "div",
        {},
        make("dt", {}, one.gate),
        make(
          "dd",
          { class: "text" },
          `${one.status.replace("_", " ")}: ${one.text}`,
          one.expected === null ? null : make("em", {}, ` declared: ${one.expected}`),
        ),
      ),
    );
    const error = record.error;
    const told = ["message", "field", "expected", "received", "remedy"].filter(
      (name) => error?.[name],
    );
    const failure = told.map((name) =>
      make("div", {}, make("dt", {}, name), make("dd", { class: "text" }, error[name])),
    );
    const parts = [make("dl", { class: "gates" }, rows, failure)];
    if (error?.detail)
      parts.push(
        make(
          "details",
          {},
          make("summary", {}, "Detail"),
          make("pre", { tabindex: 0 }, error.detail),
        ),
      );
    for (const text of record.result?.warnings || [])
      parts.push(make("p", { class: "text" }, `warning: ${text}`));
    return parts;
  }

  // The newest record as JSON; those of other recent runs are loaded when they are chosen.
  function json(cell, data, records) {
    const pre = make("pre", { tabindex: 0, class: "record", "aria-label": "Record as JSON" });
    const note = make("p", { class: "calm", role: "status" });
    const own = data.newest.run;
    const others = data.runs
      .map(([name]) => name)
      .reverse()
      .filter((name) => name !== own);
    const select = make(
      "select",
      { id: "record-run" },
      [own, ...others].map((name) => make("option", { value: name }, name)),
    );
    const copy = make("span");
    const show = (text) => {
      pre.hidden = text === null;
      pre.textContent = text === null ? "" : indent(text);
      copy.replaceChildren(text === null ? "" : copyButton(pre.textContent));
    };
    select.addEventListener("change", async () => {
      const run = select.value;
      note.textContent = "";
      if (run === own) return show(data.newest.record);
      let found = null;
      if (records[run]) {
        try {
          found = (await load(records[run]))[cell] ?? null;
        } catch (problem) {
          note.textContent = problem.message;
        }
      }
      if (select.value !== run) return undefined;
      if (found === null)
        note.textContent ||= `Its line stands in runs/${run}/records.jsonl, under "cell":"${cell}".`;
      return show(found);
    });
    show(data.newest.record);
    return make(
      "details",
      { class: "json" },
      make("summary", {}, "Record as JSON"),
      make("p", {}, make("label", { for: "record-run" }, "of run "), select, " ", copy),
      note,
      pre,
    );
  }

  window.mlmatrix.record = { digits, json, losses, phases, section, siblings, verdicts, write };
})();
