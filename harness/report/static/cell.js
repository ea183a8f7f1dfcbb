"use strict";
// The page of one cell: it is named by the fragment, and its data is loaded when it is asked for.
(() => {
  const { chart, clearCharts, copyButton, embedded, fragment, load, make, plain, sweep, ticks } =
    window.mlmatrix;
  const { digits, json, losses, phases, section, siblings, verdicts, write } =
    window.mlmatrix.record;
  const ways = embedded("ways");
  const records = embedded("records");
  const names = Object.keys(ways);
  const content = document.getElementById("content");
  const summary = document.getElementById("summary");
  const title = document.getElementById("name");
  const input = document.getElementById("choose");
  const SWEPT =
    "Score and fit are those of the tuned model's refits; total and memory are of the whole sweep.";
  let wanted = "";

  const date = (moment) => moment.slice(0, 10);
  const short = (commit) => (commit ? commit.slice(0, 10) : "unknown commit");

  function badge(trend) {
    return make(
      "span",
      { class: `badge trend ${trend.state}` },
      make("i", { "aria-hidden": "true" }, trend.symbol),
      ` ${trend.state}`,
    );
  }

  function words(measure, data) {
    const count = measure.values.length;
    const newest = write(measure.values.at(-1), measure.unit);
    const better = measure.greater ? "greater is better" : "smaller is better";
    const run = data.runs[measure.at.at(-1)];
    const old = run[0] === data.newest.run ? "" : `, of ${date(run[1])}`;
    return `${newest}${old}; ${count === 1 ? "one run" : `${count} runs`}, ${better}.`;
  }

  function blame(found) {
    if (!found) return "";
    const side = (name, command) =>
      make(
        "p",
        { class: "rerun" },
        `${name} `,
        make("code", {}, command),
        " ",
        copyButton(command),
      );
    return make(
      "details",
      { class: "blame" },
      make("summary", {}, "What else changed, and how to run both sides"),
      make(
        "ul",
        {},
        found.causes.map((cause) => make("li", {}, cause.text)),
      ),
      side("old side", found.rerun_old),
      side("new side", found.rerun_new),
    );
  }

  function trendFacts(measure) {
    const trend = measure.trend;
    if (!trend) return make("p", { class: "calm" }, "No trend was judged.");
    const parts = [badge(trend)];
    if (trend.effect) parts.push(" ", make("b", {}, trend.effect));
    if (trend.interval) parts.push(` (${trend.interval})`);
    if (trend.since)
      parts.push(` since run ${trend.since.run_after}, commits `, make("code", {}, trend.commits));
    const evidence = make("p", { class: "calm text" }, trend.evidence);
    return make("div", {}, make("p", {}, parts), evidence, blame(trend.blame));
  }

  function trendChart(measure, all) {
    const { at, values, replicates, trend } = measure;
    const runs = at.map((place) => all.runs[place]);
    const label = (place) => {
      const [run, moment, commit, dirty] = runs[place];
      return `${date(moment)} · ${short(commit)}${dirty ? " + local changes" : ""}\n${run}`;
    };
    const told = (place, text) => plain(`${text}\n${label(place)}`).replaceAll("\n", "<br>");
    const tickvals = ticks(values.length);
    const scale = measure.unit === "bytes" ? 2 ** 20 : 1;
    const segments = (trend ? trend.segments : []).map(([first, last, ...band]) => [
      first,
      last,
      ...band.map((value) => value / scale),
    ]);
    const unit = measure.unit === "bytes" ? "MiB" : measure.unit;
    return chart({
      title: `${measure.title}${unit ? `, ${unit}` : ""}`,
      words: words(measure, all),
      columns: () => [
        ["run", runs.map(([run]) => run)],
        ["commit", runs.map(([, , commit]) => short(commit))],
        ["value", values.map((value) => write(value, measure.unit))],
        ...(replicates.length
          ? [
              [
                "replicates",
                replicates.map((found) => found.map((value) => digits(value)).join(", ") || "–"),
              ],
            ]
          : []),
      ],
      build: (colors) => {
        const data = segments.map(([first, last, , low, high], number) => ({
          type: "scatter",
          mode: "lines",
          name: "band",
          legendgroup: "band",
          showlegend: number === 0,
          x: [first - 0.5, last + 0.5, last + 0.5, first - 0.5],
          y: [low, low, high, high],
          fill: "toself",
          fillcolor: colors.fill,
          line: { width: 0 },
          hoverinfo: "skip",
        }));
        if (segments.length) {
          data.push({
            type: "scatter",
            mode: "lines",
            name: "level",
            x: segments.flatMap(([first, last]) => [first - 0.5, last + 0.5, null]),
            y: segments.flatMap(([, , level]) => [level, level, null]),
            line: { color: colors.grey, width: 1.5 },
            hoverinfo: "skip",
          });
        }
        if (replicates.length) {
          const spread = replicates.flatMap((found, place) => found.map((value) => [place, value]));
          data.push({
            type: "scatter",
            mode: "markers",
            name: "replicates",
            x: spread.map(([place]) => place),
            y: spread.map(([, value]) => value),
            marker: { size: 4, color: colors.grey, opacity: values.length > 200 ? 0.35 : 0.7 },
            text: spread.map(([place, value]) => told(place, `replicate ${digits(value, 6)}`)),
            hovertemplate: "%{text}<extra></extra>",
          });
        }
        data.push({
          type: "scatter",
          mode: values.length > 80 ? "lines" : "lines+markers",
          name: replicates.length ? "mean" : "value",
          x: values.map((_, place) => place),
          y: values.map((value) => value / scale),
          line: { color: colors.blue, width: values.length > 200 ? 1 : 1.75 },
          marker: { size: 6, color: colors.blue },
          text: values.map((value, place) => told(place, write(value, measure.unit))),
          hovertemplate: "%{text}<extra></extra>",
        });
        const marks = all.marks
          .map(([place, text]) => [at.indexOf(place), text])
          .filter(([place]) => place >= 0);
        if (marks.length) {
          const floor = Math.min(...values, ...segments.map(([, , , low]) => low * scale)) / scale;
          data.push({
            type: "scatter",
            mode: "markers",
            name: "data, environment or request changed",
            x: marks.map(([place]) => place),
            y: marks.map(() => floor),
            marker: { symbol: "triangle-up", size: 9, color: colors.amber },
            text: marks.map(([place, text]) => told(place, `${text} changed`)),
            hovertemplate: "%{text}<extra></extra>",
          });
        }
        const state = trend ? trend.state : "unchanged";
        const marked = { regressed: colors.red, suspect: colors.amber, improved: colors.green }[
          state
        ];
        if (marked) {
          data.push({
            type: "scatter",
            mode: "markers",
            name: state,
            x: [values.length - 1],
            y: [values.at(-1) / scale],
            marker: { size: 12, color: "rgba(0,0,0,0)", line: { color: marked, width: 2.5 } },
            hoverinfo: "skip",
          });
        }
        const changes = segments.slice(1).map(([first]) => first - 0.5);
        return {
          data,
          layout: {
            showlegend: data.length > 1,
            shapes: changes.map((x) => ({
              type: "line",
              x0: x,
              x1: x,
              yref: "paper",
              y0: 0,
              y1: 1,
              line: { color: colors.ink, width: 1, dash: "dot" },
            })),
            annotations: changes.slice(-4).map((x) => ({
              x,
              y: 1,
              yref: "paper",
              yanchor: "bottom",
              showarrow: false,
              text: plain(short(runs[Math.ceil(x)][2])),
              font: { size: 11, color: colors.soft },
            })),
            margin: { t: 24, r: 36, b: 36, l: 60 },
            xaxis: {
              tickvals,
              ticktext: tickvals.map((place) => plain(date(runs[place][1]))),
              showgrid: false,
              tickangle: 0,
              range: [-0.6, values.length - 0.4],
            },
            yaxis: { tickformat: "~g" },
          },
        };
      },
    });
  }

  // Start and commit of a run stand once, in the list of all runs.
  function resolve(data, list) {
    const listed = new Map(
      list.runs.map((run) => [run.summary.name, [run.moment, run.commit, run.dirty]]),
    );
    const unknown = ["", null, false];
    const found = (name) => listed.get(name) || data.unlisted[name] || unknown;
    return { ...data, runs: data.runs.map((name) => [name, ...found(name)]) };
  }

  function show(cell, data) {
    const record = JSON.parse(data.newest.record);
    const [dataset, algorithm, framework, mode, task] = data.parts;
    const own = data.newest.siblings.find((one) => one[2]);
    const command = make("code", { class: "command" }, data.rerun);
    summary.replaceChildren(
      make(
        "p",
        { class: "facts" },
        [
          `dataset ${dataset}`,
          `algorithm ${algorithm}`,
          `framework ${framework}`,
          `mode ${mode}`,
          task,
        ].map((text) => make("span", {}, text)),
      ),
      make(
        "p",
        {},
        own ? make("span", { class: `badge ${own[3]}` }, own[4]) : null,
        " in run ",
        ways[cell][1] ? make("a", { href: ways[cell][1] }, data.newest.run) : data.newest.run,
        record.reused ? `, reused from run ${record.reused}` : null,
      ),
      ...(record.reason ? [make("p", { class: "text alarm" }, record.reason)] : []),
      make(
        "p",
        { class: "rerun" },
        make("span", { class: "calm" }, "run again"),
        " ",
        command,
        " ",
        copyButton(data.rerun),
      ),
    );
    clearCharts();
    const trends = data.measures.map((measure) =>
      make("div", { class: "card" }, trendChart(measure, data), trendFacts(measure)),
    );
    const charts = [losses(record), phases(record)]
      .filter(Boolean)
      .map((figure) => make("div", { class: "card" }, figure));
    const swept = sweep(data.newest, record);
    content.replaceChildren(
      ...(swept ? [swept] : []),
      section(
        "trends",
        "Trends",
        ...(swept ? [make("p", { class: "calm" }, SWEPT)] : []),
        data.measures.length
          ? make("div", { class: "cards" }, trends)
          : make("p", { class: "calm" }, "No run has a value of this cell yet."),
      ),
      section("gates", "Gates", verdicts(record)),
      section(
        "newest",
        "Newest record",
        charts.length
          ? make("div", { class: "cards" }, charts)
          : make("p", { class: "calm" }, "It has no loss curve and no timings."),
      ),
      section("siblings", "Sibling frameworks", siblings(data.newest)),
      section("record", "Record", json(cell, data, records)),
    );
  }

  async function open() {
    const cell = fragment();
    wanted = cell;
    input.value = cell;
    if (!Object.hasOwn(ways, cell)) {
      clearCharts();
      title.textContent = cell ? "There is no such cell" : "Choose a cell";
      summary.replaceChildren(
        make(
          "p",
          { class: "facts" },
          cell ? `${cell} has no record in any run here. ` : "",
          make("a", { href: "cells.html" }, "All cells"),
        ),
      );
      content.replaceChildren();
      return;
    }
    title.textContent = cell;
    document.title = `${cell} · mlmatrix`;
    try {
      const [data, list] = await Promise.all([load(ways[cell][0]), load("runs")]);
      if (wanted === cell) show(cell, resolve(data, list));
    } catch (problem) {
      summary.replaceChildren(
        make(
          "p",
          { class: "alarm" },
          `${problem.message}. Run \`mlmatrix report\` to write it again.`,
        ),
      );
      content.replaceChildren();
    }
  }

  document
    .getElementById("choices")
    .append(...names.map((name) => make("option", { value: name })));
  const form = input.form;
  const choose = () => {
    if (Object.hasOwn(ways, input.value)) location.hash = encodeURIComponent(input.value);
  };
  input.addEventListener("change", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    choose();
  });
  form.hidden = false;
  window.addEventListener("hashchange", open);
  open();
})();
