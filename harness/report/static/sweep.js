"use strict";
// What a sweep found: the tuned model beside the default one, its trials as a table and charts.
(() => {
  const { enhanceTable, make, record, sweepCharts } = window.mlmatrix;
  const { digits, section, write } = record;
  const { coordinates, history, importance, paths, percent, text, titled } = sweepCharts;
  const SYMBOLS = { ok: "passed", pruned: "" };

  // Metrics stand below one another, so that they have as many digits.
  function metric(value) {
    const size = Math.abs(value);
    return value !== null && size >= 1e-3 && size < 1e4 ? value.toPrecision(4) : digits(value);
  }

  function scroll(title, table, more = "") {
    return make(
      "div",
      { class: `scroll${more}`, role: "region", tabindex: 0, "aria-label": title },
      table,
    );
  }

  function rows(heads, lines) {
    const head = heads.map(([name, numeric]) =>
      make("th", { scope: "col", class: numeric ? "n" : null }, name),
    );
    return make(
      "table",
      { class: "plain" },
      make("thead", {}, make("tr", {}, head)),
      make(
        "tbody",
        {},
        lines.map((line) =>
          make(
            "tr",
            {},
            line.map((value, at) =>
              make(
                at ? "td" : "th",
                at ? { class: heads[at][1] ? "n" : "line" } : { scope: "row" },
                value,
              ),
            ),
          ),
        ),
      ),
    );
  }

  function signed(gain) {
    if (gain === null) return "–";
    const words = `${gain > 0 ? "+" : gain < 0 ? "−" : ""}${digits(Math.abs(gain), 3)}`;
    if (!gain) return words;
    const side = gain > 0 ? "better" : "worse";
    return make("span", {}, `${words} `, make("span", { class: side }, side));
  }

  function replicates(panel) {
    const lines = panel.pairs.map((pair) => [
      `replicate ${pair.replicate}`,
      metric(pair.tuned),
      metric(pair.default),
      signed(pair.gain),
    ]);
    const heads = [[titled(panel)], ["tuned", 1], ["default", 1], ["gain", 1]];
    return make(
      "div",
      { class: "card" },
      make("h3", {}, "On the test rows"),
      scroll("Tuned and default by replicate", rows(heads, lines)),
    );
  }

  function settings(panel, best, base) {
    const shares = new Map(panel.importance);
    const heads = [["hyperparameter"], ["tuned", 1], ["default", 1], ["searched"]];
    const lines = panel.axes.map((axis) => [
      make("span", { title: axis.path }, axis.name),
      text(best?.settings[axis.path]),
      text(base?.settings[axis.path]),
      axis.searched || "–",
    ]);
    if (shares.size) {
      heads.splice(3, 0, ["importance", 1]);
      for (const [at, axis] of panel.axes.entries()) {
        const share = shares.get(axis.name);
        lines[at].splice(3, 0, share === undefined ? "–" : percent(share));
      }
    }
    return make(
      "div",
      { class: "card" },
      make("h3", {}, `Settings of trial ${panel.best}, the best`),
      scroll("Settings of the best trial", rows(heads, lines)),
    );
  }

  function trialTable(panel, trials) {
    const isNumber = (axis) => !axis.levels.length;
    const heads = [
      ["trial", true],
      ["outcome"],
      [titled(panel), true],
      ...panel.axes.map((axis) => [axis.name, isNumber(axis), axis.path]),
      ["trained epochs", true],
      ["seconds", true],
      ["reason"],
    ];
    const number = (value, words) =>
      make("td", { class: "n", "data-v": value ?? "" }, words ?? digits(value));
    const line = (trial) => {
      const marks = [
        ...(trial.index === panel.best ? [" ", make("span", { class: "badge best" }, "best")] : []),
        ...(trial.index === 0 ? [" ", make("span", { class: "badge" }, "default")] : []),
      ];
      const word = panel.outcomes[trial.outcome];
      const badge = make("span", { class: `badge ${SYMBOLS[trial.outcome] ?? "failed"}` }, word);
      return make(
        "tr",
        { "data-trial": trial.index, class: trial.index === panel.best ? "best" : null },
        make("th", { scope: "row", class: "n", "data-v": trial.index }, trial.index, marks),
        make("td", {}, badge),
        number(trial.value, metric(trial.value)),
        ...panel.axes.map((axis) => {
          const value = trial.settings[axis.path];
          return isNumber(axis) ? number(value, text(value)) : make("td", {}, text(value));
        }),
        number(trial.epochs),
        number(trial.seconds, write(trial.seconds, "seconds")),
        make("td", { class: "words" }, trial.reason || "–"),
      );
    };
    const head = heads.map(([name, numeric, path]) =>
      make("th", { scope: "col", class: numeric ? "n" : null, title: path }, name),
    );
    return make(
      "table",
      { class: "grid sortable sticky", id: "trials" },
      make("thead", {}, make("tr", {}, head)),
      make("tbody", {}, trials.map(line)),
    );
  }

  function filters() {
    const search = make("input", {
      type: "search",
      name: "q",
      placeholder: "words, in any column",
      autocomplete: "off",
      spellcheck: "false",
    });
    return make(
      "div",
      { class: "filters", role: "search", "aria-label": "Trials" },
      make("label", {}, "Filter ", search),
      make("label", {}, "outcome ", make("select", { name: "outcome" })),
      make("output", { "aria-live": "polite" }),
      make("button", { type: "button" }, "Clear"),
    );
  }

  // The section of a sweep's cell; null where there is no trial to show.
  function sweep(newest, found) {
    const panel = newest.sweep;
    if (!panel) return null;
    // A sweep without a result has what had ended before.
    const trials = found.result ? found.result.sweep.trials : panel.trials;
    const of = (index) => trials.find((trial) => trial.index === index);
    const table = trialTable(panel, trials);
    const form = filters();
    const lines = panel.best === null ? null : coordinates(panel, trials);
    const charts = [history(panel, trials), importance(panel), paths(panel, trials)];
    const cards = charts.filter(Boolean).map((figure) => make("div", { class: "card" }, figure));
    enhanceTable(table, form);
    if (lines) {
      cards.splice(2, 0, make("div", { class: "card broad" }, lines.figure));
      const indexOf = (row) => Number(row.dataset.trial);
      const follow = () =>
        lines.show(new Set([...table.tBodies[0].rows].filter((row) => !row.hidden).map(indexOf)));
      form.addEventListener("input", follow);
      form.addEventListener("click", follow);
      table.addEventListener("pointerover", (event) => {
        const row = event.target.closest("tbody tr");
        lines.mark(row ? indexOf(row) : null);
      });
      table.addEventListener("pointerleave", () => lines.mark(null));
    }
    return section(
      "sweep",
      "Sweep",
      make("p", {}, make("strong", {}, panel.verdict)),
      ...panel.told.map((words) => make("p", { class: "calm" }, words)),
      make(
        "div",
        { class: "cards" },
        panel.pairs.length ? replicates(panel) : null,
        panel.best === null ? null : settings(panel, of(panel.best), of(0)),
        cards,
      ),
      make("h3", { id: "trials-title" }, "Trials"),
      form,
      scroll("Table of trials", table, " tall"),
    );
  }

  window.mlmatrix.sweep = sweep;
})();
