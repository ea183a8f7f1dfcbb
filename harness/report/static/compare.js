"use strict";
// Two runs side by side: both are named in the fragment, and loaded when they are chosen.
(() => {
  const { digits, embedded, enhanceTable, load, make, sweepsCompared } = window.mlmatrix;
  const runs = embedded("choices");
  const stems = new Map(runs.map(([name, , , stem]) => [name, stem]));
  const content = document.getElementById("content");
  const said = document.getElementById("said");
  const before = document.getElementById("run-a");
  const after = document.getElementById("run-b");
  const KINDS = [
    "newly failing",
    "worse",
    "fixed",
    "better",
    "unlike",
    "appeared",
    "vanished",
    "still failing",
    "alike",
  ];
  const TONES = {
    "newly failing": "failed",
    worse: "failed",
    fixed: "passed",
    better: "passed",
    "still failing": "failed",
  };

  function cellsOf(run) {
    const at = new Map();
    for (const values of run.cells) {
      const cell = Object.fromEntries(run.columns.map((name, place) => [name, values[place]]));
      at.set(cell.cell, cell);
    }
    return at;
  }

  // A metric has changed when its means differ by more than the larger of both spreads.
  function judge(one, two) {
    if (!one) return ["appeared", "the run before did not have it"];
    if (!two) return ["vanished", "the run after does not have it"];
    if (two.state === "failed" && one.state !== "failed")
      return ["newly failing", two.reason || two.outcome];
    if (one.state === "failed" && (two.state === "passed" || two.state === "expected"))
      return ["fixed", `was: ${one.reason || one.outcome}`];
    if (two.state === "failed") return ["still failing", two.reason || two.outcome];
    if (one.value !== null && two.value !== null) {
      if (one.metric !== two.metric)
        return ["unlike", `judged by ${one.metric} and by ${two.metric}`];
      const difference = two.value - one.value;
      const limit = Math.max(
        one.spread,
        two.spread,
        1e-6 * Math.max(Math.abs(one.value), Math.abs(two.value)),
      );
      if (Math.abs(difference) > limit) {
        return [
          difference > 0 === two.greater_is_better ? "better" : "worse",
          `${two.metric} ${digits(one.value)} → ${digits(two.value)}, spread ${digits(Math.max(one.spread, two.spread))}`,
        ];
      }
    }
    return ["alike", ""];
  }

  function ratio(one, two, name) {
    if (!one || !two || !one[name] || !two[name]) return null;
    return two[name] / one[name];
  }

  function differences(title, first, second, all) {
    const [one, two] = [new Map(first), new Map(second)];
    const names = [...new Set([...one.keys(), ...two.keys()])];
    const rows = names.filter((name) => all || one.get(name) !== two.get(name));
    if (!rows.length) return make("p", { class: "calm" }, `${title}: no difference.`);
    return make(
      "div",
      { class: "scroll", role: "region", tabindex: 0, "aria-label": `Differences: ${title}` },
      make(
        "table",
        { class: "plain wide" },
        make("caption", {}, title),
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            [" ", "before", "after"].map((text) =>
              make(text === " " ? "td" : "th", { scope: text === " " ? null : "col" }, text),
            ),
          ),
        ),
        make(
          "tbody",
          {},
          rows.map((name) =>
            make(
              "tr",
              { class: one.get(name) === two.get(name) ? null : "differs" },
              make("th", { scope: "row" }, name),
              make("td", {}, one.get(name) ?? "–"),
              make("td", {}, two.get(name) ?? "–"),
            ),
          ),
        ),
      ),
    );
  }

  function cellTable(pairs) {
    const heads = ["cell", "change", "details", "before", "after", "fit ×", "total ×", "memory ×"];
    const number = (value) =>
      make(
        "td",
        { class: "n", "data-v": value === null ? "" : value },
        value === null ? "–" : value.toFixed(2),
      );
    const score = (cell) =>
      make(
        "td",
        { class: "n", "data-v": cell && cell.value !== null ? cell.value : "" },
        cell ? (cell.value === null ? cell.outcome : digits(cell.value)) : "–",
      );
    return make(
      "table",
      { class: "grid sortable sticky", id: "differences" },
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          heads.map((name, at) => make("th", { scope: "col", class: at > 2 ? "n" : null }, name)),
        ),
      ),
      make(
        "tbody",
        {},
        pairs.map(({ name, kind, words, one, two }) =>
          make(
            "tr",
            { class: TONES[kind] === "failed" ? "failed" : null },
            make(
              "th",
              { scope: "row" },
              make("a", { href: `cell.html#${encodeURIComponent(name)}` }, name),
            ),
            make("td", {}, make("span", { class: `badge ${TONES[kind] || ""}` }, kind)),
            make("td", { class: "words" }, words || "–"),
            score(one),
            score(two),
            ...["fit", "seconds", "peak_memory"].map((column) => number(ratio(one, two, column))),
          ),
        ),
      ),
    );
  }

  function show(first, second) {
    const [one, two] = [cellsOf(first), cellsOf(second)];
    const names = [...new Set([...two.keys(), ...one.keys()])];
    const pairs = names.map((name) => {
      const [kind, words] = judge(one.get(name), two.get(name));
      return { name, kind, words, one: one.get(name), two: two.get(name) };
    });
    pairs.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
    const counts = KINDS.map((kind) => [
      kind,
      pairs.filter((pair) => pair.kind === kind).length,
    ]).filter(([, number]) => number);
    said.textContent =
      first.run === second.run
        ? "Both are the same run."
        : `${pairs.length} cells: ${counts.map(([kind, number]) => `${number} ${kind}`).join(", ")}.`;
    const form = make(
      "div",
      { class: "filters", role: "search", "aria-label": "Cells" },
      make(
        "label",
        {},
        "Filter ",
        make("input", {
          type: "search",
          name: "q",
          placeholder: "words, in any column",
          autocomplete: "off",
          spellcheck: "false",
        }),
      ),
      make("label", {}, "change ", make("select", { name: "change" })),
      make("output", { "aria-live": "polite" }),
      make("button", { type: "button" }, "Clear"),
    );
    const table = cellTable(pairs);
    const environment = make("div", { class: "environments" });
    const all = make("input", { type: "checkbox", id: "all-environment" });
    const fill = () =>
      environment.replaceChildren(
        differences("Environment", first.environment, second.environment, all.checked),
        differences("Packages", first.packages, second.packages, all.checked),
      );
    all.addEventListener("change", fill);
    fill();
    const sweeps = sweepsCompared(first, second);
    content.replaceChildren(
      make(
        "section",
        { "aria-labelledby": "cells-title" },
        make("h2", { id: "cells-title" }, "Cells"),
        make(
          "p",
          { class: "calm" },
          "A metric is better or worse when its means differ by more than the larger of both spreads. Times and memory are ratios, after to before.",
        ),
        form,
        make(
          "div",
          { class: "scroll tall", role: "region", tabindex: 0, "aria-label": "Table of cells" },
          table,
        ),
      ),
      ...(sweeps ? [sweeps] : []),
      make(
        "section",
        { "aria-labelledby": "environment" },
        make("h2", { id: "environment" }, "Environment"),
        make(
          "p",
          {},
          make("label", { for: "all-environment" }, all, " show what is the same, too"),
        ),
        environment,
      ),
    );
    enhanceTable(table, form);
  }

  async function open() {
    const state = new URLSearchParams(location.hash.slice(1));
    const known = (name) => (stems.has(name) ? name : null);
    after.value = known(state.get("b")) || runs[0][0];
    const next = runs[runs.findIndex(([name]) => name === after.value) + 1];
    before.value = known(state.get("a")) || (next || runs[0])[0];
    const [one, two] = [before.value, after.value];
    try {
      const loaded = await Promise.all([load(stems.get(one)), load(stems.get(two))]);
      if (before.value === one && after.value === two) show(...loaded);
    } catch (problem) {
      said.textContent = `${problem.message}. Run \`mlmatrix report\` to write it again.`;
      content.replaceChildren();
    }
  }

  function go(one, two) {
    location.hash = new URLSearchParams({ a: one, b: two });
  }

  for (const select of [before, after]) {
    select.append(
      ...runs.map(
        ([name, started, commit]) => new Option(`${name} · ${started} · ${commit}`, name),
      ),
    );
    select.addEventListener("change", () => go(before.value, after.value));
  }
  document.getElementById("swap").addEventListener("click", () => go(after.value, before.value));
  before.form.hidden = false;
  window.addEventListener("hashchange", open);
  open();
})();
