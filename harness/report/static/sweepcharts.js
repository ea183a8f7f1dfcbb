"use strict";
// The charts of a sweep's trials: their values as they came, importance, paths, coordinates.
(() => {
  const { chart, make, parallel, plain, record } = window.mlmatrix;
  const { digits } = record;

  function text(setting) {
    if (setting === null || setting === undefined) return "–";
    if (Array.isArray(setting)) return setting.map(text).join(" × ");
    return typeof setting === "number" ? digits(setting) : String(setting);
  }

  function titled(panel) {
    if (panel.greater_is_better === null) return panel.metric;
    return `${panel.metric} ${panel.greater_is_better ? "↑" : "↓"}`;
  }

  const percent = (share) => `${digits(100 * share, 2)} %`;

  const valued = (trials) => trials.filter((trial) => trial.value !== null);

  // A few trials far off would press the others together.
  function isLogarithmic(panel, values) {
    const low = Math.min(...values);
    return panel.greater_is_better !== true && low > 0 && Math.max(...values) / low > 20;
  }

  const layoutOf = (xaxis, logarithmic) => ({
    height: 320,
    showlegend: true,
    xaxis: { rangemode: "tozero", ...xaxis },
    yaxis: { type: logarithmic ? "log" : "linear", tickformat: "~g" },
    legend: { orientation: "h", y: -0.32, yanchor: "top", x: 0 },
  });

  function history(panel, trials) {
    const known = valued(trials);
    if (!known.length) return null;
    const values = known.map((trial) => trial.value);
    const logarithmic = isLogarithmic(panel, values);
    const better = (one, two) => (panel.greater_is_better ? one > two : one < two);
    const best = [];
    for (const trial of trials) {
      const last = best.at(-1) ?? null;
      const counts = panel.best !== null && trial.outcome === "ok" && trial.value !== null;
      best.push(counts && (last === null || better(trial.value, last)) ? trial.value : last);
    }
    const lost = trials.filter((trial) => trial.value === null);
    const told = (trial) =>
      plain(
        `trial ${trial.index}, ${panel.outcomes[trial.outcome]}: ${digits(trial.value, 5)}` +
          (trial.reason ? `\n${trial.reason.slice(0, 120)}` : ""),
      ).replaceAll("\n", "<br>");
    const points = (name, chosen, marker, y = chosen.map((trial) => trial.value)) => ({
      type: "scatter",
      mode: "markers",
      name,
      x: chosen.map((trial) => trial.index),
      y,
      marker: { size: 7, ...marker },
      text: chosen.map(told),
      hovertemplate: "%{text}<extra></extra>",
    });
    const ends = best.filter((value) => value !== null);
    const grown = ends.length
      ? `; the best so far goes from ${digits(ends[0])} to ${digits(ends.at(-1))}`
      : "";
    // On the side of the worst, where none can be taken for the best.
    const [edge, side] =
      panel.greater_is_better === false ? [Math.max, "top"] : [Math.min, "bottom"];
    const below = lost.length ? ` Those without a value are at the ${side}.` : "";
    return chart({
      title: "Optimisation history",
      words: `The value of each trial on the validation rows${grown}.${below}`,
      columns: () => [
        ["trial", trials.map((trial) => trial.index)],
        ["outcome", trials.map((trial) => panel.outcomes[trial.outcome])],
        ["value", trials.map((trial) => digits(trial.value))],
        ["best so far", best.map((value) => digits(value))],
      ],
      build: (colors) => {
        const chosen = (wanted) => known.filter((trial) => (trial.outcome === "ok") === wanted);
        const data = [
          {
            type: "scatter",
            mode: "lines",
            name: "best so far",
            x: trials.map((trial) => trial.index),
            y: best,
            line: { shape: "hv", color: colors.green, width: 2 },
            hoverinfo: "skip",
            visible: ends.length > 0,
          },
          points("ok", chosen(true), { color: colors.blue }),
          points("pruned", chosen(false), { color: colors.grey, symbol: "x-thin-open" }),
          points(
            "no value",
            lost,
            { color: colors.red, symbol: "x", size: 8 },
            lost.map(() => edge(...values)),
          ),
          points(
            "default",
            known.filter((trial) => trial.index === 0),
            { color: "rgba(0,0,0,0)", size: 13, line: { color: colors.ink, width: 1.5 } },
          ),
          points(
            "best",
            known.filter((trial) => trial.index === panel.best),
            { color: colors.green, symbol: "star", size: 14 },
          ),
        ].filter((trace) => trace.x.length);
        const xaxis = { title: { text: "trial" }, showgrid: false };
        return { data, layout: layoutOf(xaxis, logarithmic) };
      },
    });
  }

  function importance(panel) {
    if (!panel.importance.length) {
      return make(
        "div",
        {},
        make("h3", {}, "Importance"),
        make("p", { class: "calm" }, panel.importance_words),
      );
    }
    const shown = panel.importance.slice(0, 20);
    const names = shown.map(([name]) => (name.length > 32 ? `${name.slice(0, 31)}…` : name));
    return chart({
      title: "Importance of the hyperparameters",
      words: panel.importance_words,
      columns: () => [
        ["hyperparameter", panel.importance.map(([name]) => name)],
        ["share", panel.importance.map(([, share]) => percent(share))],
      ],
      build: (colors) => ({
        data: [
          {
            type: "bar",
            orientation: "h",
            // Names may be alike once they are cut, so that bars stand by their places.
            y: shown.map((_, at) => at),
            x: shown.map(([, share]) => share),
            text: shown.map(([, share]) => percent(share)),
            textposition: "outside",
            textangle: 0,
            cliponaxis: false,
            marker: { color: colors.blue },
            hovertemplate: "%{x:.1%}<extra></extra>",
          },
        ],
        layout: {
          height: 90 + 34 * shown.length,
          xaxis: {
            tickformat: ".0%",
            range: [0, 1.15 * Math.max(...shown.map(([, share]) => share))],
          },
          yaxis: {
            autorange: "reversed",
            tickvals: shown.map((_, at) => at),
            ticktext: names.map(plain),
            showgrid: false,
          },
        },
      }),
    });
  }

  function paths(panel, trials) {
    const shown = trials.filter((trial) => trial.steps.length);
    if (!shown.some((trial) => trial.steps.length > 1)) return null;
    const logarithmic = isLogarithmic(
      panel,
      shown.flatMap((trial) => trial.steps.map(([, value]) => value)),
    );
    return chart({
      title: "Learning paths",
      words: `The value on the validation rows after so many ${panel.steps}s, of ${shown.length} trials.`,
      columns: () => [
        ["trial", shown.map((trial) => trial.index)],
        [
          "values",
          shown.map((trial) =>
            trial.steps.map(([at, value]) => `${at}: ${digits(value)}`).join(", "),
          ),
        ],
      ],
      build: (colors) => {
        const trace = (name, chosen, line) => ({
          type: "scatter",
          mode: "lines+markers",
          name,
          marker: { size: 4, color: line.color },
          x: chosen.flatMap((trial) => [...trial.steps.map(([at]) => at), null]),
          y: chosen.flatMap((trial) => [...trial.steps.map(([, value]) => value), null]),
          text: chosen.flatMap((trial) => [
            ...trial.steps.map(
              ([at, value]) =>
                `trial ${trial.index}, after ${at} ${panel.steps}s: ${digits(value, 5)}`,
            ),
            null,
          ]),
          line,
          hovertemplate: "%{text}<extra></extra>",
        });
        const others = shown.filter((trial) => trial.index !== panel.best);
        const is = (ok) => others.filter((trial) => (trial.outcome === "ok") === ok);
        const data = [
          trace("stopped early", is(false), { color: colors.grey, width: 1, dash: "dot" }),
          trace("ok", is(true), { color: colors.blue, width: 1 }),
          trace(
            "best",
            shown.filter((trial) => trial.index === panel.best),
            { color: colors.green, width: 3 },
          ),
        ].filter((one) => one.x.length);
        const xaxis = { title: { text: `${panel.steps}s` } };
        return { data, layout: layoutOf(xaxis, logarithmic) };
      },
    });
  }

  // A zero below a logarithmic axis has a tick of its own.
  function scaleOf(low, high, log, zero = false) {
    if (zero) {
      const { place, ticks } = scaleOf(low, high, log);
      const lift = (share) => 0.14 + 0.86 * share;
      return {
        place: (value) => (value > 0 ? lift(place(value)) : 0),
        ticks: [[0, "0"], ...ticks.map(([share, words]) => [lift(share), words])],
      };
    }
    const of = log ? Math.log : (value) => value;
    const span = of(high) - of(low);
    const place = (value) => (span ? (of(value) - of(low)) / span : 0.5);
    const between = log
      ? [...Array(7).keys()].map(
          (at) => 10 ** (Math.ceil(Math.log10(low) + 0.15) + at * decades(low, high)),
        )
      : [low + (high - low) / 2];
    const inner = between.filter((value) => place(value) > 0.12 && place(value) < 0.88);
    const ends = span ? [low, ...inner, high] : [low];
    return { place, ticks: ends.map((value) => [place(value), short(value)]) };
  }
  const short = (value) => digits(value, 3).replace(/\.?0+e/, "e");
  const decades = (low, high) => Math.max(1, Math.ceil(Math.log10(high / low) / 5));

  function coordinates(panel, trials) {
    const values = valued(trials).map((trial) => trial.value);
    if (!values.length || !panel.axes.length) return null;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const value = scaleOf(low, high, isLogarithmic(panel, values));
    const scales = panel.axes.map((axis) => {
      if (!axis.levels.length) return scaleOf(axis.low, axis.high, axis.log, axis.zero);
      const names = axis.levels.map(text);
      const place = (level) =>
        names.length > 1 ? names.indexOf(text(level)) / (names.length - 1) : 0.5;
      const every = Math.ceil(names.length / 9);
      const ticks = axis.levels
        .filter((_, at) => at % every === 0)
        .map((level) => [place(level), text(level)]);
      return { place, ticks };
    });
    const order = valued(trials)
      .sort((a, b) => (panel.greater_is_better ? b.value - a.value : a.value - b.value))
      .map((trial) => trial.index);
    const ranks = new Map(order.map((index, at) => [index, at]));
    const has = (setting) => setting !== null && setting !== undefined;
    const lines = trials.map((trial) => ({
      index: trial.index,
      rank: ranks.get(trial.index) ?? null,
      kind: trial.index === panel.best ? "best" : trial.index === 0 ? "default" : "",
      places: [
        ...panel.axes.map((axis, at) => {
          const setting = trial.settings[axis.path];
          return has(setting) ? scales[at].place(setting) : null;
        }),
        trial.value === null ? null : value.place(trial.value),
      ],
      told: [
        `trial ${trial.index}, ${panel.outcomes[trial.outcome]}: ${digits(trial.value)}`,
        ...panel.axes.map((axis) => `${axis.name} ${text(trial.settings[axis.path])}`),
      ].join("\n"),
    }));
    const axes = panel.axes.map((axis, at) => ({
      name: axis.name,
      title: `${axis.path}${axis.searched ? `: ${axis.searched}` : ""}`,
      ticks: scales[at].ticks,
    }));
    axes.push({
      name: titled(panel),
      title: "value on the validation rows",
      ticks: value.ticks,
    });
    return parallel({
      title: "Parallel coordinates",
      words:
        "Each line is a trial, from its settings to its value: the stronger its colour, the better. Thick is the best, dashed the default, dotted what has no value. The table of trials has the numbers, and its filter chooses the lines.",
      axes,
      lines,
    });
  }

  window.mlmatrix.sweepCharts = { coordinates, history, importance, paths, percent, text, titled };
})();
