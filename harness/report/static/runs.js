"use strict";
// The failures of all runs over time, by outcome.
(() => {
  const place = document.getElementById("failures-chart");
  if (!place) return;
  const { chart, embedded, plain, ticks } = window.mlmatrix;
  const { runs, moments, outcomes, cells } = embedded("failures-data");
  const dates = moments.map((text) => text.slice(0, 10));
  const totals = runs.map((_, at) => outcomes.reduce((sum, [, values]) => sum + values[at], 0));
  const last = totals.at(-1);
  const most = Math.max(...totals);
  const tickvals = ticks(runs.length);
  place.append(
    chart({
      title: "Failures by outcome",
      words: `${last} in the newest of ${runs.length} runs, ${most} at most.`,
      columns: () => [
        ["run", runs],
        ...outcomes.map(([name, values]) => [name, values.map(String)]),
        ["cells", cells.map(String)],
      ],
      build: (colors) => ({
        data: outcomes.map(([name, values], number) => ({
          type: "bar",
          name: plain(name),
          x: runs.map((_, at) => at),
          y: values,
          marker: { color: colors.series[number % colors.series.length] },
          text: runs.map((run, at) => plain(`${run}: ${values[at]} of ${cells[at]} cells`)),
          textposition: "none",
          hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
        })),
        layout: {
          barmode: "stack",
          bargap: runs.length > 60 ? 0 : 0.2,
          showlegend: true,
          xaxis: {
            tickvals,
            ticktext: tickvals.map((at) => plain(dates[at])),
            showgrid: false,
            tickangle: 0,
          },
          yaxis: { rangemode: "tozero", tickformat: "d", dtick: most < 6 ? 1 : null },
        },
      }),
    }),
  );
})();
