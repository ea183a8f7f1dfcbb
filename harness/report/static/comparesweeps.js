"use strict";
// Two runs' sweeps side by side: the tuned models, and in which settings they differ.
(() => {
  const { enhanceTable, make } = window.mlmatrix;
  const mark = "→";

  function digits(value) {
    return value === null
      ? "–"
      : Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
  }

  // As for any metric: the means differ by more than the larger of both spreads.
  function judge(one, two) {
    if (!one || !two || one.tuned === null || two.tuned === null || one.metric !== two.metric)
      return "";
    const limit = Math.max(one.spread, two.spread, 1e-6 * Math.abs(one.tuned));
    if (Math.abs(two.tuned - one.tuned) <= limit) return "alike";
    return two.tuned > one.tuned === two.greater_is_better ? "better" : "worse";
  }

  function differences(one, two) {
    if (!one?.settings.length || !two?.settings.length) return "–";
    const [old, now] = [new Map(one.settings), new Map(two.settings)];
    const changed = [...new Set([...old.keys(), ...now.keys()])].filter(
      (name) => old.get(name) !== now.get(name),
    );
    if (!changed.length) return "the same settings";
    return changed
      .map((name) => `${name} ${old.get(name) ?? "–"} ${mark} ${now.get(name) ?? "–"}`)
      .join(", ");
  }

  // The worse first, then the better, then what is alike or has nothing to compare with.
  const weigh = (verdict) => ({ worse: 0, better: 1 })[verdict] ?? 2;

  const number = (value, words = digits(value)) =>
    make("td", { class: "n", "data-v": value ?? "" }, words);
  const side = (line) =>
    number(line?.tuned ?? null, line && line.tuned === null ? line.outcome : undefined);
  const cost = (line) => (line?.trials ? `${line.trials} / ${line.epochs}` : "–");

  function row([cell, one, two]) {
    const known = two || one;
    const verdict = judge(one, two);
    return make(
      "tr",
      { class: known.state === "failed" ? "failed" : null },
      make(
        "th",
        { scope: "row" },
        make("a", { href: `cell.html#${encodeURIComponent(cell)}` }, cell),
      ),
      make("td", {}, known.metric ? `${known.metric} ${known.greater_is_better ? "↑" : "↓"}` : "–"),
      side(one),
      side(two),
      make("td", { class: verdict }, verdict || "–"),
      number(one?.default ?? null),
      number(two?.default ?? null),
      make("td", { class: "words" }, differences(one, two)),
      make("td", {}, `${cost(one)} ${mark} ${cost(two)}`),
    );
  }

  // The section of both runs' sweeps; null where none has one. A run's sweeps are null where only
  // the index knows the run, which keeps no trials.
  function sweepsCompared(first, second) {
    const unread = [first, second].filter((run) => run.sweeps === null);
    const [old, now] = [first, second].map(
      (run) => new Map((run.sweeps || []).map((line) => [line.cell, line])),
    );
    const cells = [...new Set([...now.keys(), ...old.keys()])];
    const place = (cell) => weigh(judge(old.get(cell), now.get(cell)));
    cells.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
    if (!cells.length && !unread.length) return null;
    const heads = [
      ["cell"],
      ["metric"],
      ["tuned before", 1],
      ["tuned after", 1],
      ["change"],
      ["default before", 1],
      ["default after", 1],
      ["settings that differ"],
      ["trials / epochs"],
    ];
    const table = make(
      "table",
      { class: "grid sortable sticky", id: "sweeps-compared" },
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          heads.map(([name, numeric]) =>
            make("th", { scope: "col", class: numeric ? "n" : null }, name),
          ),
        ),
      ),
      make(
        "tbody",
        {},
        cells.map((cell) => row([cell, old.get(cell), now.get(cell)])),
      ),
    );
    enhanceTable(table);
    return make(
      "section",
      { "aria-labelledby": "sweeps-title" },
      make("h2", { id: "sweeps-title" }, "Sweeps"),
      make(
        "p",
        { class: "calm" },
        "Tuned and default models on the test rows, means over replicates. A tuned metric is better or worse when the means differ by more than the larger of both spreads.",
      ),
      ...unread.map((run) =>
        make("p", { class: "calm" }, `The trials of run ${run.run} stand in its journal only.`),
      ),
      make(
        "div",
        { class: "scroll tall", role: "region", tabindex: 0, "aria-label": "Table of sweeps" },
        table,
      ),
    );
  }

  Object.assign(window.mlmatrix, { digits, sweepsCompared });
})();
